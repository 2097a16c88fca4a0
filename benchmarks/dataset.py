"""Makes a lifelike cache to copy: real names and layout, log-normal sizes, always the same bytes.

Archives are whole zstd frames of raw blocks, so that a structure check passes, and their
content is random, so that no compression on the way flatters a copier.
"""

import hashlib
import itertools
import json
import math
import os
import random
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
SINGLE_SEGMENT_4_BYTE_SIZE = b"\xa0"
RAW_BLOCK_MAX_BYTES = 128 * 1024
LEAST_FILE_BYTES = 200
NOW_S = 1_750_000_000
KEPT_FOR_S = 15 * 86_400

RECIPES = ("zlib", "busybox", "openssl", "glibc", "linux-yocto", "gtk+3", "systemd", "qemu")
TARGETS = (
    ("", "core2-64-poky-linux", "core2-64"),
    ("", "all-poky-linux", "allarch"),
    ("universal/", "x86_64-linux", "x86_64"),
)
TASKS = (
    "deploy_source_date_epoch",
    "recipe_qa",
    "create_spdx",
    "package",
    "package_write_ipk",
    "packagedata",
    "populate_lic",
    "populate_sysroot",
)


@dataclass(frozen=True, slots=True)
class Shape:
    """What a data set is made from; the same shape is the same bytes.

    Attributes:
        objects: archives, each with one `.siginfo`.
        total_bytes: of all files; the spread of archive sizes is chosen to meet it.
        median_archive_bytes: half of the archives are smaller.
        seed: of the generator.
    """

    objects: int = 10_000
    total_bytes: int = 1_200_000_000
    median_archive_bytes: int = 10_000
    median_siginfo_bytes: int = 9_000
    seed: int = 1


class PlannedFile(NamedTuple):
    """One file to be made, below the data set's root."""

    path: str
    size_bytes: int
    mtime_s: int


class Dataset(NamedTuple):
    """Files on disk and what they must be after any copy.

    Attributes:
        root: the folder to copy.
        sha256: digest by path below `root`.
        total_bytes: of all files.
    """

    root: Path
    sha256: dict[str, str]
    total_bytes: int


def provide(shape: Shape, shelf: Path) -> Dataset:
    """Make the data set, or take it from the shelf when an earlier run made it; reads it warm."""
    home = shelf / hashlib.sha256(json.dumps(asdict(shape)).encode()).hexdigest()[:12]
    root, manifest = home / "sstate", home / "sha256.json"
    if not manifest.exists():
        shutil.rmtree(home, ignore_errors=True)
        write(shape, root)
        manifest.write_text(json.dumps(digests(root)))
    expected: dict[str, str] = json.loads(manifest.read_text())
    assert digests(root) == expected, f"{root} was changed since it was made: remove {home}"
    return Dataset(root, expected, sum((root / path).stat().st_size for path in expected))


def write(shape: Shape, root: Path) -> None:
    """Write every file of the data set below a new folder."""
    generator = random.Random(shape.seed)
    for planned in planned_files(shape):
        file = root / planned.path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(zstd_frame(planned.size_bytes, generator))
        file.chmod(0o664)
        os.utime(file, (planned.mtime_s, planned.mtime_s))


def planned_files(shape: Shape) -> Iterator[PlannedFile]:
    """Name every file of a data set with its size and time, archives before their siginfos."""
    generator = random.Random(shape.seed)
    siginfo_sizes = [
        max(LEAST_FILE_BYTES, round(shape.median_siginfo_bytes * math.exp(0.4 * deviate)))
        for deviate in normal_deviates(shape.objects, generator)
    ]
    archive_sizes = sizes_of_total(
        shape.total_bytes - sum(siginfo_sizes),
        shape.median_archive_bytes,
        normal_deviates(shape.objects, generator),
    )
    for archive_bytes, siginfo_bytes in zip(archive_sizes, siginfo_sizes, strict=True):
        path = object_path(generator)
        mtime_s = NOW_S - generator.randrange(KEPT_FOR_S)
        yield PlannedFile(path, archive_bytes, mtime_s)
        yield PlannedFile(f"{path}.siginfo", siginfo_bytes, mtime_s)


def normal_deviates(count: int, generator: random.Random) -> list[float]:
    """Draw from the standard normal distribution."""
    return [generator.gauss(0, 1) for _ in range(count)]


def sizes_of_total(total_bytes: int, median_bytes: int, deviates: list[float]) -> list[int]:
    """Sizes with the median asked for, spread so widely that they add up to the total (1 %)."""
    low, high = 0.0, 8.0
    sizes: list[int] = []
    for _ in range(60):
        sigma = (low + high) / 2
        sizes = [max(LEAST_FILE_BYTES, round(median_bytes * math.exp(sigma * d))) for d in deviates]
        low, high = (sigma, high) if sum(sizes) < total_bytes else (low, sigma)
    assert abs(sum(sizes) - total_bytes) < total_bytes / 100, "no spread gives this total"
    return sizes


def object_path(generator: random.Random) -> str:
    """Name one archive as bitbake does, in the directories that its hash says."""
    native, target, architecture = generator.choice(TARGETS)
    recipe = generator.choice(RECIPES) + ("-native" if native else "")
    version = f"{generator.randrange(1, 12)}.{generator.randrange(40)}+git0+ab12cd"
    digest = f"{generator.getrandbits(256):064x}"
    name = f"sstate:{recipe}:{target}:{version}:r0:{architecture}:14:{digest}"
    return f"{native}{digest[:2]}/{digest[2:4]}/{name}_{generator.choice(TASKS)}.tar.zst"


def zstd_frame(size_bytes: int, generator: random.Random) -> bytes:
    """Make one whole frame of raw blocks that is exactly so many bytes long.

    Source: RFC 8878, sections 3.1.1 (frame) and 3.1.1.2 (blocks: last, type, size).
    """
    blocks = max(1, math.ceil((size_bytes - 9) / (RAW_BLOCK_MAX_BYTES + 3)))
    content = generator.randbytes(size_bytes - 9 - 3 * blocks)
    frame = [ZSTD_MAGIC, SINGLE_SEGMENT_4_BYTE_SIZE, len(content).to_bytes(4, "little")]
    for start in range(0, len(content), RAW_BLOCK_MAX_BYTES):
        block = content[start : start + RAW_BLOCK_MAX_BYTES]
        is_last = start + RAW_BLOCK_MAX_BYTES >= len(content)
        frame += [(is_last | len(block) << 3).to_bytes(3, "little"), block]
    return b"".join(frame)


def digests(root: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder by its path; our own `.cachemig` folder left out."""
    paths = sorted(walk(root))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda path: digest(root / path), paths, chunksize=64)
        return dict(zip(paths, found, strict=True))


def digest(file: Path) -> str:
    """SHA-256 of one file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def walk(root: Path) -> Iterator[str]:
    """Path of every file below a folder; what cachemig keeps about its runs is left out."""
    for folder, folders, files in os.walk(root):
        below = Path(folder).relative_to(root)
        if below == Path() and ".cachemig" in folders:
            folders.remove(".cachemig")
        for name in files:
            yield str(below / name)


def subset(whole: Dataset, files: int, root: Path) -> Dataset:
    """Link an even sample of the files into another folder."""
    step = len(whole.sha256) // files
    chosen = list(itertools.islice(sorted(whole.sha256), 0, step * files, step))
    for path in chosen:
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(whole.root / path, target)
    total_bytes = sum((root / path).stat().st_size for path in chosen)
    return Dataset(root, {path: whole.sha256[path] for path in chosen}, total_bytes)
