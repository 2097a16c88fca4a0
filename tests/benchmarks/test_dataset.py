"""The files that benchmarks copy are what a real cache could hold."""

import random

import zstandard
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.dataset import LEAST_FILE_BYTES, Shape, digests, planned_files, write, zstd_frame
from cachemig.agent.archive import checker
from cachemig.core.names import FileKind, classify

SMALL = Shape(objects=60, total_bytes=2_000_000)


@given(size_bytes=st.integers(LEAST_FILE_BYTES, 400_000))
def test_an_archive_is_one_whole_frame_of_the_size_asked_for(size_bytes):
    """Whatever the size, zstd reads it to its end, and so does our own check."""
    frame = zstd_frame(size_bytes, random.Random(size_bytes))

    assert len(frame) == size_bytes
    inflate = zstandard.ZstdDecompressor().decompressobj()
    inflate.decompress(frame)
    assert inflate.eof
    check = checker("x.tar.zst")
    assert check is not None
    check.feed(frame)
    assert check.finish() == ""


def test_names_are_those_of_objects_in_their_places():
    """No file is a stray, and none lies where bitbake would not look for it."""
    found = [classify(planned.path) for planned in planned_files(SMALL)]

    assert {one.kind for one in found} == {FileKind.ARCHIVE, FileKind.SIGINFO}
    assert not any(one.misplaced for one in found)
    assert {one.native for one in found} == {"", "universal"}


def test_a_shape_is_always_the_same_bytes_and_meets_its_total(tmp_path):
    """Figures of two days speak of the same files."""
    for name in ("once", "twice"):
        write(SMALL, tmp_path / name)

    once = digests(tmp_path / "once")
    assert once == digests(tmp_path / "twice")
    total_bytes = sum((tmp_path / "once" / path).stat().st_size for path in once)
    assert abs(total_bytes - SMALL.total_bytes) < SMALL.total_bytes / 100
