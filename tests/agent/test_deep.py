"""The deep check finds what the structure does not tell, in bounded time and memory."""

import gzip
import io
import os
import tarfile
import tempfile

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from cachemig.agent import archive
from cachemig.agent.deep import NO_ZSTD, check_file

ZSTD_NAME = "sstate:x.tar.zst"
GZIP_NAME = "sstate:x.tgz"
TAR_RECORD = 10240


def make_tar(files: dict[str, bytes], tar_format: int = tarfile.GNU_FORMAT) -> bytes:
    """Make a tar of some files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tar_format) as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


SOME_TAR = make_tar({"a": b"x" * 1000, "d/" + "n" * 150: os.urandom(70_000), "empty": b""})


def deep(data: bytes, name: str = ZSTD_NAME, path: str | None = None) -> str:
    """Look inside an archive that lies in a file."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        return check_file(file.fileno(), len(data), name, path)


def structure(data: bytes) -> str:
    """Walk the headers of the same."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        return archive.check_file(file.fileno(), len(data), ZSTD_NAME)


@settings(max_examples=20, deadline=None)
@given(
    st.dictionaries(st.text("abc/", min_size=1, max_size=200), st.binary(max_size=2000)),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_a_whole_archive_is_whole(files: dict[str, bytes], tar_format: int) -> None:
    """Long names, no files at all, both formats of tar, zstd and gzip."""
    tar = make_tar(files, tar_format)

    assert deep(zstandard.compress(tar)) == ""
    assert deep(gzip.compress(tar), GZIP_NAME) == ""


def test_an_empty_tar_is_what_bitbake_writes_for_an_empty_task() -> None:
    """One record of NUL is `tar --files-from=/dev/null`; more of it is damage."""
    assert deep(zstandard.compress(b"\0" * TAR_RECORD)) == ""
    assert "NUL" in deep(zstandard.compress(b"\0" * 200_000))


@pytest.mark.parametrize(
    ("tar", "words"),
    [
        (b"this is no tar" * 100, "broken tar"),
        (b"", "broken tar"),
        (SOME_TAR[:40_000], "broken tar"),
        (SOME_TAR[:1536], "no end mark"),
        (SOME_TAR[:1536] + b"x" * 512 + SOME_TAR[2048:], "no header at byte 1536"),
        (SOME_TAR + b"tail", "broken tar"),
    ],
    ids=["noise", "nothing", "cut in a file", "cut at a header", "bad header", "tail"],
)
def test_a_broken_tar_in_a_whole_archive_is_damage(tar: bytes, words: str) -> None:
    """What zstd and gzip can not know is found in the tar."""
    assert structure(zstandard.compress(tar)) == ""

    assert words in deep(zstandard.compress(tar))
    assert words in deep(gzip.compress(tar), GZIP_NAME)


def test_a_flipped_bit_is_damage() -> None:
    """The structure passes it; zstd, by its checksum, does not."""
    data = bytearray(zstandard.ZstdCompressor(write_checksum=True).compress(SOME_TAR))
    data[len(data) // 2] ^= 1
    assert structure(bytes(data)) == ""

    assert deep(bytes(data)).startswith("zstd: ")
    assert "gzip" in deep(gzip.compress(SOME_TAR)[:-9], GZIP_NAME)


def test_a_bomb_is_given_up() -> None:
    """An archive that unpacks without end is not followed."""
    bomb = zstandard.compress(b"\0" * 300_000_000)
    assert len(bomb) < 20_000

    assert deep(bomb) == "unpacks to more than 67108864 bytes"
    assert "too large" in deep(huge_window()).lower() or "memory" in deep(huge_window()).lower()


def huge_window() -> bytes:
    """An archive that asks for a window of 2 GiB."""
    parameters = zstandard.ZstdCompressionParameters(window_log=31)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return stream.compress(SOME_TAR) + stream.flush()


def test_a_server_without_zstd_says_so() -> None:
    """No verdict is made up; gzip needs no program."""
    assert deep(zstandard.compress(SOME_TAR), path="/nonexistent") == NO_ZSTD
    assert deep(gzip.compress(SOME_TAR), GZIP_NAME, path="/nonexistent") == ""


def test_companions_are_not_looked_into() -> None:
    """Only archives have an inside."""
    assert deep(b"noise", "sstate:x.tar.zst.siginfo") == ""
