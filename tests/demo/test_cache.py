"""The demo's cache is like a real one: readable, various, and always the same."""

import io
import tarfile
from collections import Counter

import pytest
import zstandard

from cachemig.core.names import FileKind, classify
from cachemig.demo.cache import DAY_S, DUNFELL, OLDEST_DAYS, SCARTHGAP, GeneratedCache
from cachemig.demo.site import CACHES
from cachemig.demo.strays import damaged, links, misplaced, strays

STYLES = pytest.mark.parametrize("style", [SCARTHGAP, DUNFELL], ids=["scarthgap", "dunfell"])
NEVER_IN_A_CACHE_OF_BITBAKE = {
    *(FileKind.OWN_TEMP, FileKind.OWN_ASIDE, FileKind.OWN_STATE, FileKind.REJECTED),
    *(FileKind.ARCHIVE, FileKind.SIGINFO, FileKind.SIG),
}


def members(archive: bytes) -> list[str]:
    """Unpack an archive wholly, as bitbake would, and list its tar."""
    if archive.startswith(b"\x1f\x8b"):
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
            return tar.getnames()
    unpacker = zstandard.ZstdDecompressor()
    with unpacker.stream_reader(archive, read_across_frames=True) as plain:
        return tarfile.open(fileobj=io.BytesIO(plain.read())).getnames()


@STYLES
def test_the_same_seed_makes_the_same_files(style):
    """What somebody reports of the demo can be repeated elsewhere."""
    assert list(GeneratedCache(style, 40, 7).files()) == list(GeneratedCache(style, 40, 7).files())


@STYLES
def test_every_archive_unpacks_to_a_tar(style):
    """Structure checks and `zstd -t` find nothing wrong in what is meant to be whole."""
    files = list(GeneratedCache(style, 60, 7).files())

    archives = [f.content for f in files if f.path.endswith(style.extension)]

    assert len(archives) == 60
    assert all(members(archive) for archive in archives)


@STYLES
def test_every_file_lies_where_bitbake_looks_for_it(style):
    """Objects, companions and lone signatures, in plain and in native directories."""
    files = [classify(f.path) for f in GeneratedCache(style, 300, 7).files()]

    assert not [f for f in files if f.kind.is_stray or f.misplaced]
    assert {f.native for f in files} == {"", *style.natives}
    assert {f.kind for f in files} == {FileKind.ARCHIVE, FileKind.SIGINFO, FileKind.SIG}
    assert [f for f in files if f.name and not f.name.target]


def test_the_longest_names_have_the_length_that_bitbake_cuts_to():
    """246 bytes for an archive, 254 for its siginfo."""
    names = [f.path.rpartition("/")[2] for f in GeneratedCache(SCARTHGAP, 40, 7).files()]

    longest = {kind: max(len(n) for n in names if n.endswith(kind)) for kind in ("zst", "siginfo")}

    assert longest == {"zst": 246, "siginfo": 254}


def test_sizes_and_ages_are_lifelike():
    """Half the archives are under 10 kB or so, signatures likewise; ages go up to two months."""
    files = list(GeneratedCache(SCARTHGAP, 600, 7).files())
    archives = sorted(len(f.content) for f in files if f.path.endswith(".zst"))
    ages_days = sorted(f.age_s / DAY_S for f in files)

    assert 8_000 < archives[300] < 14_000
    assert archives[-1] > 200_000
    assert ages_days[0] < 1
    assert OLDEST_DAYS - 5 < ages_days[-1] <= OLDEST_DAYS


def test_every_kind_of_stray_is_there():
    """Whatever bitbake leaves behind in a cache, the demo shows how it is told."""
    kinds = Counter(classify(f.path).kind for f in strays(GeneratedCache(SCARTHGAP, 0, 7)))

    assert set(kinds) == set(FileKind) - NEVER_IN_A_CACHE_OF_BITBAKE
    assert kinds[FileKind.WRITER_TEMP] == 2


def test_what_is_broken_is_broken():
    """One archive is cut, one is empty, one lies in the wrong place, one link dangles."""
    cache = GeneratedCache(SCARTHGAP, 0, 7)
    cut, empty = damaged(cache)

    with pytest.raises((zstandard.ZstdError, tarfile.ReadError)):
        members(cut.content)
    assert empty.content == b""
    assert classify(misplaced(cache).path).misplaced
    assert [link.archive is None for link in links(cache)] == [False, True]


def test_the_demo_has_about_1500_objects():
    """Enough to be a cache, few enough for a minute."""
    assert sum(cache.objects for cache in CACHES) == 1500
