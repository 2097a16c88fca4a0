"""Where a root really is, so that two addresses of one directory are known for one."""

from __future__ import annotations

import os
from typing import Any

from .tree import Tree

_BOOT_ID = "/proc/sys/kernel/random/boot_id"


def whereabouts(tree: Tree) -> dict[str, Any]:
    """The machine, and device and inode of the root and of every directory above it."""
    here = os.fstat(tree.fd)
    places = [[here.st_dev, here.st_ino]]
    above = tree.path
    try:
        while above != os.path.dirname(above):
            above = os.path.dirname(above)
            there = os.stat(above)
            places.append([there.st_dev, there.st_ino])
    except OSError:  # what may not be seen is not told
        pass
    return {"machine": _machine(), "places": places}


def _machine() -> str:
    """A number that the kernel drew when it started; empty where it does not say."""
    try:
        with open(_BOOT_ID, encoding="ascii") as file:
            return file.read().strip()
    except (OSError, ValueError):
        return ""
