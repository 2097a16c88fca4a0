"""By which files a run was done: evidence, in its first event."""

import contextlib
import hashlib
from collections.abc import Iterable
from pathlib import Path

_MAX_INPUT_BYTES = 1024 * 1024


def digests(paths: Iterable[Path]) -> dict[str, str]:
    """Give the SHA-256 of each regular file of a sane size that can be read."""
    found: dict[str, str] = {}
    for path in paths:
        with contextlib.suppress(OSError):
            if path.is_file() and path.stat().st_size <= _MAX_INPUT_BYTES:
                found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found
