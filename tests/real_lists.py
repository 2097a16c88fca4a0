"""The real lists of tests/data, as tuples of paths."""

import gzip
from functools import cache
from pathlib import Path

DATA = Path(__file__).parent / "data"


@cache
def paths_of(name: str) -> tuple[str, ...]:
    """The paths of ``rig-all-cache``, ``rig-all-wanted`` or ``core-image-minimal-wanted``."""
    return tuple(gzip.decompress((DATA / f"{name}.txt.gz").read_bytes()).decode().splitlines())
