"""How the files of one directory become rows of an inventory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachemig.catalog.rows import CachePlace, InventoryRow, RowKind, rows_of
from cachemig.core.names import FileKind
from cachemig.stores.base import FileEntry
from tests.catalog.made import HASH, OLD_NS, file, link, listing, object_name

PLACE = CachePlace("nfs-1", "lmp", "")
NAME = object_name()


def rows(*files, place=PLACE, path="3f/a1"):
    """The rows of one directory."""
    return list(rows_of(place, listing(path, *files)))


def test_an_archive_and_its_companions_are_one_row():
    """What travels together is counted together."""
    (row,) = rows(file(NAME, 30, 3), file(f"{NAME}.sig", 20, 2), file(f"{NAME}.siginfo", 10, 1))

    assert row == InventoryRow(
        *("nfs-1", "lmp", "3f/a1", NAME, RowKind.OBJECT),
        pn="zlib",
        task="package",
        hash=HASH,
        arch="core2-64",
        version="14",
        slot="3f",
        size_bytes=30,
        mtime_ns=3,
        siginfo_size_bytes=10,
        siginfo_mtime_ns=1,
        sig_size_bytes=20,
        sig_mtime_ns=2,
    )


def test_a_siginfo_alone_is_a_signature_under_its_archives_name():
    """It is legal, and has no archive size."""
    (row,) = rows(file(f"{NAME}.siginfo", 10, 1))

    assert (row.kind, row.name, row.size_bytes) == (RowKind.SIGNATURE, NAME, None)
    assert row.siginfo_size_bytes == 10


def test_a_detached_signature_of_nothing_is_a_stray():
    """A `.sig` alone is of no use to anyone."""
    (row,) = rows(file(f"{NAME}.sig"))

    assert (row.kind, row.stray_kind) == (RowKind.STRAY, FileKind.SIG)


def test_an_empty_archive_is_known_to_be_damaged_at_once():
    """No look inside is needed; an empty siginfo says nothing of its archive."""
    (empty,) = rows(file(NAME, 0))
    (whole,) = rows(file(NAME, 1), file(f"{NAME}.siginfo", 0))

    assert (empty.damage, whole.damage) == ("empty", "")


def test_a_link_that_leads_somewhere_carries_the_size_and_time_of_its_target():
    """So that it can travel as a file; its companions may be links too."""
    (row,) = rows(link(NAME, 30, 3, "/mirror/x"), link(f"{NAME}.siginfo", 10, 1))

    assert (row.kind, row.resolved, row.target) == (RowKind.LINK, True, "/mirror/x")
    assert (row.size_bytes, row.mtime_ns, row.siginfo_size_bytes) == (30, 3, 10)


def test_a_link_that_leads_nowhere_has_no_size():
    """It is reported, and never copied."""
    (row,) = rows(link(NAME))

    assert (row.kind, row.resolved, row.size_bytes, row.mtime_ns) == (
        *(RowKind.LINK, False),
        *(None, None),
    )


def test_a_companion_that_leads_nowhere_is_a_row_of_its_own():
    """The archive is whole without it; the link is still told."""
    dangling, archive = rows(file(NAME, 30), link(f"{NAME}.siginfo"))

    assert (dangling.kind, dangling.name) == (RowKind.LINK, f"{NAME}.siginfo")
    assert (archive.kind, archive.siginfo_size_bytes) == (RowKind.OBJECT, None)


def test_an_object_in_the_wrong_directory_is_misplaced():
    """No build will find it there."""
    (row,) = rows(file(NAME), path="3f/a2")

    assert row.misplaced


def test_what_is_no_regular_file_is_a_stray_whatever_its_name():
    """A fifo under an object's name would hang whoever reads it."""
    (row,) = rows(FileEntry(NAME, "o", 0, OLD_NS))

    assert (row.kind, row.stray_kind) == (RowKind.STRAY, FileKind.OTHER)


@pytest.mark.parametrize("folder", ["", "v95-sstate-cache", "deep/er"])
@pytest.mark.parametrize("directory", ["", "3f", "universal/3f/a1"])
def test_directories_are_relative_to_the_caches_folder(folder, directory):
    """The key of an object does not depend on where a server keeps its cache."""
    place = CachePlace("nfs-1", "lmp", folder)

    assert place.directory(place.path(directory)) == directory


file_names = st.sampled_from([NAME, f"{NAME}.siginfo", f"{NAME}.sig"]) | st.text(
    st.characters(exclude_characters="/\0", exclude_categories=()), min_size=1, max_size=12
)
times = st.integers(-(2**80), 2**80)
sizes = st.integers(0, 2**62)
files = (
    st.builds(FileEntry, file_names, st.sampled_from(["f", "o"]), sizes, times)
    | st.builds(FileEntry, file_names, st.just("l"), sizes | st.just(-1), times, st.just("/x"))
)  # fmt: skip


@given(st.lists(files, unique_by=lambda entry: entry.name, max_size=6))
def test_every_file_is_accounted_for_once(entries):
    """As an archive, a companion, a stray or a link; nothing is lost, nothing counted twice."""
    counted = 0
    for row in rows(*entries):
        readable = (row.size_bytes, row.siginfo_size_bytes, row.sig_size_bytes)
        if row.kind is RowKind.STRAY:
            counted += 1
        else:
            counted += sum(size is not None for size in readable)
            counted += row.kind is RowKind.LINK and not row.resolved
        assert -(2**63) <= (row.mtime_ns or 0) < 2**63

    assert counted == len(entries)
