"""What DuckDB and the disk refuse, as errors that name our own file and what to do."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb

from cachemig.core.disk import is_full, own_file_refused
from cachemig.errors import FormatError, UsageError

SCRATCH_PREFIX = ".scratch-"
DESCRIPTORS = "/proc/self/fd/"
_REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO)
_QUOTED_PATH = re.compile(r"""["']([^"'\\\n]*/[^"'\\\n]+)""")
_PARQUET_VIEW = re.compile(r"read_parquet\('([^']+)'")


@contextmanager
def translating(
    place: Path,
    connection: duckdb.DuckDBPyConnection | None = None,
    what: str = "a file of our own",
) -> Iterator[None]:
    """Turn what DuckDB or the disk refuse at a place of ours into errors for the operator.

    A bug stays a bug.

    Args:
        place: a file, or the folder that holds all files that may be touched.
        connection: may be asked which file it read.
        what: it is, in the message.

    Raises:
        NoSpaceError: the disk is full, or a quota is used up.
        UsageError: a file of ours can not be read or written.
        FormatError: a file that was asked is damaged.
    """
    try:
        yield
    except (duckdb.Error, OSError) as error:
        refusal = _refusal(error, place)
        path = refusal.filename if refusal is not None else ""
        path = _own_name(path or _file_named(str(error)) or _file_asked(connection) or str(place))
        if refusal is not None:
            failed = f"{what} can not be read or written"
            raise own_file_refused(refusal, path, failed, UsageError) from error
        if _is_damage(error):
            raise FormatError(
                f"{what} is damaged",
                path=path,
                cause=str(error).splitlines()[0],
                next_step="move it away, then scan the site again",
            ) from error
        raise


def _refusal(error: Exception, place: Path) -> OSError | None:
    """What the disk said, if it was the disk that refused a file of ours."""
    if isinstance(error, OSError):
        named = isinstance(error.filename, str) and Path(error.filename).is_relative_to(place)
        return error if named or is_full(error.errno) else None
    text = str(error)
    if "No files found" in text:
        return OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    if "max_temp_directory_size" in text:
        return OSError(errno.ENOSPC, text.splitlines()[0])
    for number in _REFUSALS:
        if os.strerror(number) in text:  # DuckDB gives no number
            return OSError(number, text.splitlines()[0])
    return None


def _is_damage(error: Exception) -> bool:
    bare = type(error) is duckdb.Error  # Parquet's own decoder failed
    return bare or isinstance(error, duckdb.IOException | duckdb.InvalidInputException)


def _file_named(text: str) -> str:
    found = _QUOTED_PATH.search(text.splitlines()[0] if text else "")
    return found[1] if found else ""


def _file_asked(connection: duckdb.DuckDBPyConnection | None) -> str:
    """The Parquet file that was read, if it was only one: not every decoder's error names it."""
    if connection is None:
        return ""
    with suppress(duckdb.Error):
        views = connection.execute("SELECT sql FROM duckdb_views() WHERE NOT internal").fetchall()
        files = {name for (sql,) in views for name in _PARQUET_VIEW.findall(sql)}
        kept = [name for name in files if SCRATCH_PREFIX not in name]
        return kept[0] if len(kept) == 1 else ""
    return ""


def _own_name(path: str) -> str:
    """Name the file that is meant by a descriptor of ours."""
    if path.startswith(DESCRIPTORS):
        with suppress(OSError):
            return str(Path(path).readlink()).removesuffix(" (deleted)")
    return path


def is_there(path: Path) -> bool:
    """Tell whether a file of ours exists.

    Raises:
        UsageError: we may not look.
    """
    with translating(path):
        return path.exists()
