"""The real lists and files of tests/data."""

import gzip
import io
import os
import tarfile
from functools import cache
from pathlib import Path

import zstandard

DATA = Path(__file__).parent / "data"


@cache
def paths_of(name: str) -> tuple[str, ...]:
    """The paths of ``rig-all-cache``, ``rig-all-wanted`` or ``core-image-minimal-wanted``."""
    return tuple(gzip.decompress((DATA / f"{name}.txt.gz").read_bytes()).decode().splitlines())


def unpack_subset(folder: Path) -> tuple[str, ...]:
    """Lay the real files of ``rig-all-subset`` below a folder, with their times; their paths."""
    packed = (DATA / "rig-all-subset.tar.zst").read_bytes()
    with zstandard.ZstdDecompressor().stream_reader(packed) as stream:
        unpacked = io.BytesIO(stream.read())
    with tarfile.open(fileobj=unpacked) as archive:
        for member in archive:
            target = folder / member.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.extractfile(member) as content:  # type: ignore[union-attr]
                target.write_bytes(content.read())
            os.utime(target, (member.mtime, member.mtime))
        return tuple(archive.getnames())
