"""The structure check passes every whole archive and no cut one, however the bytes come."""

import gzip
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from itertools import pairwise
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from cachemig.agent import archive
from cachemig.agent.archive import check_file, checker

ZSTD_NAME = "sstate:x.tar.zst"
GZIP_NAME = "sstate:x.tgz"

contents = st.one_of(
    st.binary(max_size=3000),
    st.integers(0, 400_000).map(lambda n: b"\0" * n),
    st.integers(0, 300_000).map(os.urandom),
)


@st.composite
def zstd_frames(draw: st.DrawFn) -> bytes:
    """One frame: data in one of the shapes a writer may choose, or a skippable one."""
    if draw(st.booleans()):
        body = draw(st.binary(max_size=40))
        magic = 0x184D2A50 + draw(st.integers(0, 15))
        return magic.to_bytes(4, "little") + len(body).to_bytes(4, "little") + body
    return draw(data_frames())


@st.composite
def data_frames(draw: st.DrawFn) -> bytes:
    """One data frame: with and without checksum and size, in one go or streamed."""
    writer = zstandard.ZstdCompressor(
        level=draw(st.sampled_from([1, 3, 8])),
        write_checksum=draw(st.booleans()),
        write_content_size=draw(st.booleans()),
    )
    data = draw(contents)
    if draw(st.booleans()):
        return writer.compress(data)
    stream = writer.compressobj()
    return stream.compress(data) + stream.flush()


@st.composite
def zstd_archives(draw: st.DrawFn) -> list[bytes]:
    """The frames of an archive; at least one of them holds data."""
    frames = draw(st.lists(zstd_frames(), max_size=3))
    frames.insert(draw(st.integers(0, len(frames))), draw(data_frames()))
    return frames


gzip_archives = st.lists(
    st.builds(gzip.compress, st.binary(max_size=3000), st.sampled_from([0, 1, 9])),
    min_size=1,
    max_size=3,
)


def verdict(name: str, data: bytes, cuts: tuple[int, ...] = ()) -> str:
    """Feed an archive in pieces that end at the cuts."""
    follower = checker(name)
    assert follower is not None
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, end in pairwise(bounds):
        follower.feed(data[start:end])
    return follower.finish()


def file_verdict(name: str, data: bytes) -> str:
    """Check the same bytes as they lie in a file."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        return check_file(file.fileno(), len(data), name)


def ends_of(frames: list[bytes]) -> set[int]:
    """Lengths at which a cut leaves a whole archive: after a frame, once there was data."""
    ends, at, has_data = set(), 0, False
    for frame in frames:
        at += len(frame)
        has_data = has_data or frame.startswith(archive.ZSTD_MAGIC)
        if has_data:
            ends.add(at)
    return ends


@settings(deadline=None)
@given(zstd_archives(), st.lists(st.integers(0, 400_000), max_size=8).map(tuple))
def test_a_whole_zstd_archive_is_whole_however_it_comes(
    frames: list[bytes], cuts: tuple[int, ...]
) -> None:
    """Frames of every shape, skippable ones between them, any pieces: no damage."""
    data = b"".join(frames)

    assert verdict(ZSTD_NAME, data, cuts) == ""
    assert file_verdict(ZSTD_NAME, data) == ""


@settings(deadline=None)
@given(zstd_archives(), st.data())
def test_a_cut_zstd_archive_is_damaged(frames: list[bytes], data: st.DataObject) -> None:
    """Every proper prefix is damaged, save one that ends where a frame does."""
    whole = b"".join(frames)
    length = data.draw(st.integers(0, len(whole) - 1))
    is_archive = length in ends_of(frames)

    assert (verdict(ZSTD_NAME, whole[:length]) == "") == is_archive
    assert (file_verdict(ZSTD_NAME, whole[:length]) == "") == is_archive


@settings(deadline=None)
@given(zstd_archives(), st.binary(min_size=1, max_size=64))
def test_bytes_after_a_zstd_archive_are_damage(frames: list[bytes], extra: bytes) -> None:
    """What follows the last frame and is no frame is told."""
    data = b"".join(frames) + b"\0" + extra

    assert verdict(ZSTD_NAME, data) == archive.TRAILING
    assert file_verdict(ZSTD_NAME, data) == archive.TRAILING


@given(
    st.sampled_from([ZSTD_NAME, GZIP_NAME]),
    st.sampled_from([b"", archive.ZSTD_MAGIC, b"\x1f\x8b\x08\x00", b"\x50\x2a\x4d\x18"]),
    st.binary(max_size=300),
    st.lists(st.integers(0, 300), max_size=6).map(tuple),
)
def test_any_bytes_get_one_verdict(
    name: str, start: bytes, rest: bytes, cuts: tuple[int, ...]
) -> None:
    """Noise never raises, and the pieces it comes in do not change what is said of it."""
    data = start + rest

    assert verdict(name, data, cuts) == verdict(name, data) == file_verdict(name, data)


@given(gzip_archives, st.lists(st.integers(0, 9000), max_size=6).map(tuple))
def test_a_whole_gzip_archive_is_whole_however_it_comes(
    members: list[bytes], cuts: tuple[int, ...]
) -> None:
    """One member or several."""
    assert verdict(GZIP_NAME, b"".join(members), cuts) == ""
    assert file_verdict(GZIP_NAME, b"".join(members)) == ""


@given(gzip_archives, st.data())
def test_a_cut_gzip_archive_is_damaged(members: list[bytes], data: st.DataObject) -> None:
    """Every proper prefix is damaged, save one that ends where a member does."""
    whole = b"".join(members)
    length = data.draw(st.integers(0, len(whole) - 1))
    ends = {sum(map(len, members[: n + 1])) for n in range(len(members))}

    assert (verdict(GZIP_NAME, whole[:length]) == "") == (length in ends)


def test_a_flipped_bit_in_a_gzip_archive_is_damage() -> None:
    """The CRC is checked."""
    data = bytearray(gzip.compress(b"nine lives " * 50, 0))
    data[100] ^= 1

    assert verdict(GZIP_NAME, bytes(data)).startswith(archive.BROKEN_MEMBER)


def test_a_gzip_bomb_is_unpacked_in_bounded_memory() -> None:
    """200 MB out of 200 kB pass by without being held."""
    bomb = gzip.compress(b"\0" * 200_000_000)
    assert len(bomb) < 250_000

    assert verdict(GZIP_NAME, bomb) == ""


@pytest.mark.parametrize(
    ("data", "damage"),
    [
        (b"", archive.EMPTY),
        (b"\0" * 5000, archive.NOT_ZSTD),
        (b"<html>503</html>", archive.NOT_ZSTD),
        (b"\x50\x2a\x4d\x18\x01\0\0\0x", archive.NO_DATA_FRAME),
        (archive.ZSTD_MAGIC + b"\x08", archive.BAD_FRAME_HEADER),
        (archive.ZSTD_MAGIC + b"\x20\x00\x07\x00\x00", archive.BAD_BLOCK),
        (archive.ZSTD_MAGIC + b"\x20\x00\x01\x00\x20", archive.BAD_BLOCK),
    ],
)
def test_damage_is_told_in_words(data: bytes, damage: str) -> None:
    """Each kind of damage has its own words."""
    assert verdict(ZSTD_NAME, data) == damage
    assert file_verdict(ZSTD_NAME, data) == damage


def test_a_repeated_byte_is_one_byte_long() -> None:
    """A block that repeats one byte holds one byte, whatever size it unpacks to."""
    block = (1 | 1 << 1 | 1000 << 3).to_bytes(3, "little")
    frame = archive.ZSTD_MAGIC + b"\x60\xe8\x02" + block + b"x"
    assert zstandard.ZstdDecompressor().decompress(frame) == b"x" * 1000

    assert verdict(ZSTD_NAME, frame) == ""


@pytest.mark.parametrize("name", ["x.tar.zst.siginfo", "x.tar.zst.sig", "x.tar.zst.aB3x", "x"])
def test_only_archives_have_a_structure(name: str) -> None:
    """Companions and strays are not checked."""
    assert checker(name) is None
    assert check_file(-1, 0, name) == ""


@pytest.mark.parametrize(
    "command",
    [
        ["zstd", "-q", "-3", "-T2", "-c"],
        ["zstd", "-q", "-8", "--long=27", "--no-check", "-c"],
        ["zstd", "-q", "-1", "-c", "-B1MB", "-T2"],
        ["pzstd", "-q", "-p", "2", "-c"],
    ],
    ids=lambda command: command[0] + command[2],
)
def test_what_bitbake_runs_writes_whole_archives(command: list[str], tmp_path: Path) -> None:
    """Archives of zstd and pzstd pass; cut anywhere inside a frame they do not."""
    assert shutil.which(command[0]), "install the Debian package zstd"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for n in range(12):
            entry = tarfile.TarInfo(f"file{n}")
            entry.size = 700_000
            tar.addfile(entry, io.BytesIO(os.urandom(350_000) + b"\0" * 350_000))
    source = tmp_path / "x.tar"
    source.write_bytes(packed.getvalue())
    data = subprocess.run([*command, str(source)], capture_output=True, check=True).stdout

    assert verdict(ZSTD_NAME, data) == ""
    assert file_verdict(ZSTD_NAME, data) == ""
    assert verdict(ZSTD_NAME, data[:-1]) != ""
    assert verdict(ZSTD_NAME, data[: len(data) // 2]) != ""
