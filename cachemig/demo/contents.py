"""Real bytes for generated files: archives as bitbake writes them, and signature dumps."""

import io
import json
import random
import struct
import tarfile
import zlib

import zstandard

_POOL_BYTES = 4 * 1024 * 1024
_FRAME_BYTES = 64 * 1024
_SKIPPABLE_MAGIC = 0x184D2A50
_HASH_DIGITS = 64
_BYTES_PER_DEPENDENCY = 44


class Contents:
    """Makes the bytes of archives and signatures; the same seed makes the same bytes.

    Payloads are cut from one pool of random bytes, so that thousands are made in seconds
    and hardly shrink, as real archives do not.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._pool = self._random.randbytes(_POOL_BYTES)
        self._digits = self._pool[: _POOL_BYTES // 4].hex()

    def hash(self) -> str:
        """A new hash, as in the name of an object."""
        return self._random.randbytes(_HASH_DIGITS // 2).hex()

    def archive(self, extension: str, pn: str, size_bytes: int) -> bytes:
        """A tar of about `size_bytes` once packed, as .tar.zst or as .tgz."""
        packed = self._tar(pn, size_bytes)
        if extension == ".tgz":
            return _gzip(packed)
        return _many_frames(packed) if self._random.random() < 1 / 3 else _one_frame(packed)

    def signature(self, pn: str, task: str, size_bytes: int) -> bytes:
        """A signature dump of about `size_bytes`: zstd around JSON, as bitbake writes it."""
        names = [f"{pn}:do_{task}_{n}" for n in range(max(1, size_bytes // _BYTES_PER_DEPENDENCY))]
        dump = {
            "task": f"do_{task}",
            "basehash": self._some_hash(),
            "taskhash": self._some_hash(),
            "runtaskhashes": {name: self._some_hash() for name in names},
        }
        return _one_frame(json.dumps(dump).encode())

    def _some_hash(self) -> str:
        start = self._random.randrange(len(self._digits) - _HASH_DIGITS)
        return self._digits[start : start + _HASH_DIGITS]

    def _tar(self, pn: str, size_bytes: int) -> bytes:
        target = io.BytesIO()
        with tarfile.open(fileobj=target, mode="w", format=tarfile.GNU_FORMAT) as tar:
            left_bytes, number = size_bytes, 0
            while left_bytes > 0:
                piece_bytes = min(left_bytes, self._random.randrange(500, _POOL_BYTES // 2))
                start = self._random.randrange(_POOL_BYTES - piece_bytes)
                member = tarfile.TarInfo(f"{pn}/usr/lib/{pn}-{number}.bin")
                member.size = piece_bytes
                member.mtime = 1_700_000_000
                tar.addfile(member, io.BytesIO(self._pool[start : start + piece_bytes]))
                left_bytes, number = left_bytes - piece_bytes, number + 1
        return target.getvalue()


def _one_frame(data: bytes) -> bytes:
    """What `zstd` writes to a pipe: one frame that does not say how long it is."""
    packer = zstandard.ZstdCompressor(level=1, write_checksum=True, write_content_size=False)
    return packer.compress(data)


def _many_frames(data: bytes) -> bytes:
    """What `pzstd` writes: frames, each announced by a skippable frame with its length."""
    packer = zstandard.ZstdCompressor(level=1, write_checksum=True)
    frames = (
        packer.compress(data[start : start + _FRAME_BYTES])
        for start in range(0, len(data), _FRAME_BYTES)
    )
    return b"".join(
        struct.pack("<III", _SKIPPABLE_MAGIC, 4, len(frame)) + frame for frame in frames
    )


def _gzip(data: bytes) -> bytes:
    """A gzip member without a time stamp, so that it is the same whenever it is made."""
    packer = zlib.compressobj(level=1, wbits=31)
    return packer.compress(data) + packer.flush()
