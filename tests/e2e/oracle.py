"""Judges a copy by nothing but files: what the generator wrote, and what lies there now.

It shares no code with cachemig, and takes nothing that cachemig says for true.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

COMPANIONS = (".siginfo", ".sig")


class Fault(NamedTuple):
    """What is wrong, and with which file."""

    what: str
    path: str


def digests(root: Path) -> dict[str, str]:
    """SHA-256 of every file that a build could meet below a root, by path.

    A file that goes away while we look is passed over; a link is told as what it says.
    """
    return dict(_digests(root))


def faults(
    manifest: Mapping[str, str], roots: Iterable[Path], foreign: Mapping[str, str] | None = None
) -> list[Fault]:
    """Compare destinations, all together, with the source's manifest; an empty list is right.

    Args:
        manifest: SHA-256 by path, of all that the source holds or held.
        roots: of the destination servers.
        foreign: SHA-256 by path of what lay at the destinations before; it must be there still.
    """
    kept = foreign or {}
    found: list[Fault] = []
    seen: set[str] = set()
    for root in roots:
        for path, digest in _digests(root):
            seen.add(path)
            if path in kept:
                found += [Fault("altered", path)] if kept[path] != digest else []
            elif path not in manifest:
                found.append(Fault("from nowhere", path))
            elif manifest[path] != digest:
                found.append(Fault("other bytes than the source's", path))
            found += _lacking(manifest, root, path)
    return found + [Fault("removed", path) for path in kept.keys() - seen]


def missing(manifest: Mapping[str, str], roots: Iterable[Path]) -> set[str]:
    """The source's files that no destination has under their names."""
    places = list(roots)
    return {path for path in manifest if not any((root / path).is_file() for root in places)}


def _lacking(manifest: Mapping[str, str], root: Path, path: str) -> list[Fault]:
    """An archive that can be seen before what belongs to it would be used without."""
    needed = (path + tail for tail in COMPANIONS if path + tail in manifest)
    return [Fault("there before its companion", path) for c in needed if not (root / c).exists()]


def _digests(root: Path) -> Iterator[tuple[str, str]]:
    for directory, folders, names in os.walk(root):
        folders[:] = [folder for folder in folders if folder != ".cachemig"]
        for name in names:
            file = Path(directory, name)
            if name.startswith(".cm-"):
                continue
            try:
                data = os.fsencode(file.readlink()) if file.is_symlink() else file.read_bytes()
            except FileNotFoundError:
                continue
            yield os.path.relpath(file, root), hashlib.sha256(data).hexdigest()
