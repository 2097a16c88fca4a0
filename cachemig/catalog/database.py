"""DuckDB as the catalog uses it: small in memory, spilling beside the state, one file a question.

A catalog of a million objects must not take more memory than a few hundred megabytes
together with all else, so rows go through files: Python writes CSV line by line, DuckDB
reads it, sorts and joins within its limit, and writes Parquet.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import duckdb

from cachemig.catalog.refusals import DESCRIPTORS, SCRATCH_PREFIX, translating
from cachemig.errors import FormatError

MEMORY_LIMIT = "144MB"
THREADS = 1
_ROW_GROUP_ROWS = 10_240  # small: it is held in memory, and a plan is read in windows
_FETCH_ROWS = 1000
_CSV_LINE_BYTES = 256 * 1024
_CSV_BUFFER_BYTES = 16 * _CSV_LINE_BYTES


@contextmanager
def scratch(state_dir: Path, *, may_be_elsewhere: bool = False) -> Iterator[Path]:
    """Give a directory for temporary files beside the state, and remove it afterwards.

    What a killed process left behind is removed first: its lock died with it.

    Args:
        state_dir: where it is made, below folders that are made as well.
        may_be_elsewhere: use the system's folder for such files when this one can not be
            written: for a question that keeps nothing.

    Raises:
        NoSpaceError, UsageError: the disk refused a file of ours in there.
    """
    if may_be_elsewhere and not os.access(state_dir, os.W_OK | os.X_OK):
        place = Path(tempfile.gettempdir())
    else:
        place = state_dir
    with translating(place):
        place.mkdir(parents=True, exist_ok=True)
        if place is state_dir:
            _sweep(place)
        with _locked_directory(place) as made:
            yield made


@contextmanager
def connect(scratch_dir: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open an in-memory database that spills into `scratch_dir`.

    Raises:
        NoSpaceError, UsageError: the disk refused a file of ours.
        FormatError: a file that was asked is damaged.
    """
    connection = duckdb.connect(
        config={
            "memory_limit": MEMORY_LIMIT,
            "threads": THREADS,
            "temp_directory": str(scratch_dir / "spill"),
            "preserve_insertion_order": False,
            "autoinstall_known_extensions": False,
            "python_enable_replacements": False,
        }
    )
    with closing(connection), translating(scratch_dir.parent, connection):
        yield connection


def query(name: str) -> str:
    """Read the text of one question, `catalog/<name>.sql`."""
    return resources.files(__package__).joinpath(f"{name}.sql").read_text(encoding="utf-8")


def literal(text: object) -> str:
    """Write a value as an SQL string."""
    return "'" + str(text).replace("'", "''") + "'"


def parquet_view(
    connection: duckdb.DuckDBPyConnection, name: str, path: Path, *, row_numbers: bool = False
) -> None:
    """Make a Parquet file answer under a table name; it is not read yet.

    With `row_numbers` the table has a column `file_row_number`.
    """
    source = f"read_parquet({literal(path)}, file_row_number = {row_numbers})"
    with translating(path):
        connection.execute(f"CREATE OR REPLACE VIEW {name} AS FROM {source}")


@contextmanager
def pinned(path: Path) -> Iterator[Path]:
    """Give a name under which a file stays what it is, although another run may replace it.

    To be held longer than the connection that reads it.

    Raises:
        UsageError: it can not be read.
    """
    with ExitStack() as held:
        with translating(path):
            file = held.enter_context(path.open("rb"))
        yield Path(f"{DESCRIPTORS}{file.fileno()}")


def csv_view(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    paths: Sequence[Path],
    columns: Mapping[str, str],
) -> None:
    """Make CSV files of ours answer under a table name; an empty number is NULL, a text is not.

    No value may hold a line end: paths in them are escaped.
    """
    files = ", ".join(literal(path) for path in paths)
    types = ", ".join(f"{literal(column)}: {literal(kind)}" for column, kind in columns.items())
    texts = ", ".join(literal(column) for column, kind in columns.items() if kind == "VARCHAR")
    options = "header = false, auto_detect = false, delim = ',', quote = '\"'"
    options += f", buffer_size = {_CSV_BUFFER_BYTES}, max_line_size = {_CSV_LINE_BYTES}"
    connection.execute(
        f"CREATE OR REPLACE VIEW {name} AS FROM read_csv([{files}], {options},"
        f" escape = '\"', columns = {{{types}}}, force_not_null = [{texts}])"
    )


def fetched(connection: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    """Give the rows of the last question, a thousand at a time."""
    while rows := connection.fetchmany(_FETCH_ROWS):
        yield from rows


def write_parquet(
    connection: duckdb.DuckDBPyConnection,
    select: str,
    path: Path,
    *,
    parameters: Mapping[str, str] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write what a SELECT gives to a new Parquet file.

    COPY takes no parameters, so they are put into its text.
    """
    if parameters:
        texts = {name: literal(value) for name, value in parameters.items()}
        select = Template(select).substitute(texts)
    pairs = ", ".join(f"{key}: {literal(value)}" for key, value in (metadata or {}).items())
    options = f"FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {_ROW_GROUP_ROWS}"
    options += f", KV_METADATA {{{pairs}}}" if pairs else ""
    connection.execute(f"COPY ({select}) TO {literal(path)} ({options})")


def publish(draft: Path, path: Path) -> None:
    """Give a finished file its final name; it is durable then, or the old one stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _sync(draft)
    draft.replace(path)
    _sync(path.parent)


def read_metadata(path: Path, what: str, version: int) -> dict[str, str]:
    """Read the key-value metadata of one of our Parquet files, its version checked.

    Raises:
        FormatError: the file is absent, damaged, foreign, or of a newer version.
        UsageError: it can not be read.
    """
    with translating(path, what=what):
        if path.exists() and not path.is_file():
            raise FormatError(f"{what} is not a regular file", path=str(path))
        found = _metadata(path)
    written = found.get("format_version", "")
    if not written.isdecimal():
        raise FormatError(f"{what} was not written by cachemig", path=str(path))
    if int(written) > version:
        raise FormatError(
            f"{what} was written by a newer cachemig (format {written}, this one knows {version})",
            path=str(path),
            next_step="install the version of cachemig that wrote it, or a later one",
        )
    return found


def _metadata(path: Path) -> dict[str, str]:
    question = "SELECT decode(key), decode(value) FROM parquet_kv_metadata(?)"
    with duckdb.connect(config={"threads": 1}) as connection:
        return dict(connection.execute(question, [str(path)]).fetchall())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _locked_directory(place: Path) -> Iterator[Path]:
    """Make a directory and lock it; one that was swept in between is made again."""
    with ExitStack() as held:
        while True:
            made = Path(tempfile.mkdtemp(prefix=SCRATCH_PREFIX, dir=place))
            if held.enter_context(_locked(made)):
                break
        held.callback(shutil.rmtree, made, ignore_errors=True)
        yield made


@contextmanager
def _locked(directory: Path) -> Iterator[bool]:
    """Lock a directory as long as the block runs; tell whether it is there and nobody else's."""
    with ExitStack() as held:
        try:
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            held.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = os.path.samestat(directory.stat(), os.fstat(descriptor))
        except (BlockingIOError, FileNotFoundError):
            mine = False
        yield mine


def _sweep(state_dir: Path) -> None:
    for left in state_dir.glob(f"{SCRATCH_PREFIX}*"):
        with suppress(PermissionError), _locked(left) as mine:  # another account's is left alone
            if mine:
                shutil.rmtree(left, ignore_errors=True)
