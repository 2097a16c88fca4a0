"""Files as a cache holds them, made for a test."""

import hashlib
import os
import random
from pathlib import Path

import zstandard

OLD_NS = 1_700_000_000_123_456_789
"""A time long ago, with more digits than seconds have."""


def archive(seed: int, size_bytes: int = 3000) -> bytes:
    """A whole zstd file of about that size; the same for the same seed."""
    return zstandard.compress(random.Random(seed).randbytes(size_bytes))


def object_path(folder: str, number: int, tail: str = "_deploy.tar.zst") -> str:
    """Where bitbake would put an object of ours, below a folder."""
    name_hash = hashlib.sha256(f"{folder}{number}".encode()).hexdigest()
    name = f"sstate:zlib:core2-64:1.3.{number}:r0:core2-64:12:{name_hash}{tail}"
    return f"{folder}/{name_hash[:2]}/{name_hash[2:4]}/{name}"


def long_name(number: int = 0) -> str:
    """A companion's name of 254 bytes, the longest that bitbake makes."""
    stem, tail = "sstate:zlib:core2-64:", f":r0:core2-64:12:{'a' * 64}_deploy.tar.zst.siginfo"
    return f"{stem}{number}{'9' * (254 - len(stem) - len(tail) - len(str(number)))}{tail}"


def put(root: Path, path: str, content: bytes, mtime_ns: int = OLD_NS) -> Path:
    """Write a file below a root, with its time; the path may hold surrogate escapes."""
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    os.utime(target, ns=(mtime_ns, mtime_ns))
    return target


def contents(root: Path) -> dict[str, bytes]:
    """Every file and link below a root but our own notes: what it holds, or says."""
    found = {}
    for folder, directories, names in os.walk(root):
        if Path(folder) == root and ".cachemig" in directories:
            directories.remove(".cachemig")
        for name in names + [d for d in directories if Path(folder, d).is_symlink()]:
            path = Path(folder, name)
            held = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
            found[str(path.relative_to(root))] = held
    return found


def sha256(content: bytes) -> str:
    """Its digest in hex."""
    return hashlib.sha256(content).hexdigest()
