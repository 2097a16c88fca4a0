"""What lies in a real cache and is no object: every kind once."""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

from cachemig.demo.cache import DAY_S, CacheFile, GeneratedCache

_HALF_WRITTEN = b"\x28\xb5\x2f\xfd" + b"\0" * 3000
_TAILS = (
    ".kZ81Qbfw",  # shell writers up to kirkstone
    "k_z81qbf",  # the Python writer from scarthgap on
    ".tmp",
    ".lock",
    ".done",
    ".siginfo.done",
    "_bad-checksum_5d41402abc4b2a76b9719d911017c592",
)
_AT_THE_TOP = ("hashserv.db", "hashserv.db-wal", "hashserv.db-shm")


class Link(NamedTuple):
    """A symbolic link that bitbake left after a fetch from a ``file://`` mirror.

    Attributes:
        path: below the cache's folder.
        archive: what it leads to; None when that has gone.
    """

    path: str
    archive: CacheFile | None


def strays(cache: GeneratedCache) -> Iterator[CacheFile]:
    """Temp files, locks, live databases and the like; each beside where an object would be."""
    for tail in _TAILS:
        spare = cache.spare_object()
        yield spare._replace(path=spare.path + tail, content=_HALF_WRITTEN)
    spare = cache.spare_object()
    directory, name = PurePosixPath(spare.path).parent, PurePosixPath(spare.path).name
    signing = directory / "tmpq7f_x2ab"
    yield spare._replace(path=f"{signing}/{name}")
    yield spare._replace(path=f"{signing}/{name}.sig", content=b"\x88\x75")
    yield spare._replace(path=f"{directory}/sigtask.{'a1b2c3d4e5' * 2}zq81xk_f", content=b"{")
    yield spare._replace(path=f"{directory}/.nfs00000000018a2b3c0000000f", content=b"held open")
    digits = name.rpartition(":")[2].partition("_")[0]
    yield spare._replace(path=f"{directory}/{name.replace(digits, 'INVALID')}")
    yield spare._replace(path=f"{directory}/notes-of-an-admin.txt", content=b"do not delete\n")
    for file_name in _AT_THE_TOP:
        yield CacheFile(file_name, b"SQLite format 3\0" + bytes(4080), age_s=60)


def damaged(cache: GeneratedCache) -> Iterator[CacheFile]:
    """An archive that was cut off in the middle, and one that is empty."""
    cut = cache.spare_object()
    yield cut._replace(content=cut.content[: len(cut.content) // 2], age_s=9 * DAY_S)
    yield cache.spare_object()._replace(content=b"", age_s=9 * DAY_S)


def misplaced(cache: GeneratedCache) -> CacheFile:
    """A whole archive in a directory where bitbake never looks for it."""
    spare = cache.spare_object()
    wrong = "00/00" if not spare.path.startswith("00/") else "11/11"
    return spare._replace(path=f"{wrong}/{PurePosixPath(spare.path).name}")


def links(cache: GeneratedCache) -> Iterator[Link]:
    """One link that still leads to an archive, and one whose target is gone."""
    kept = cache.spare_object()
    yield Link(kept.path, kept)
    yield Link(cache.spare_object().path, None)
