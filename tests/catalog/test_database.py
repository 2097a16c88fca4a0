"""Scratch space, questions, and files that are whole or not there."""

import fcntl
import os
from importlib import resources

import duckdb
import pytest

from cachemig.catalog.database import (
    connect,
    parquet_view,
    query,
    scratch,
    translated,
    write_parquet,
)
from cachemig.catalog.rows import InventoryRow
from cachemig.errors import FormatError, NoSpaceError


def test_scratch_space_goes_with_its_block(tmp_path):
    """Also when the block fails."""

    def fail():
        with scratch(tmp_path) as place:
            (place / "rows.csv").touch()
            raise KeyError

    with pytest.raises(KeyError):
        fail()

    assert list(tmp_path.iterdir()) == []


def test_the_scratch_space_of_a_killed_process_is_swept_and_a_living_ones_is_not(tmp_path):
    """A lock dies with its process; the name alone says nothing."""
    dead, living = tmp_path / ".scratch-dead", tmp_path / ".scratch-living"
    for place in (dead, living):
        place.mkdir()
        (place / "rows.csv").touch()
    held = os.open(living, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)

    with scratch(tmp_path):
        left = {place.name for place in (dead, living) if place.exists()}
    os.close(held)

    assert left == {living.name}


def test_every_question_is_shipped_and_none_is_forgotten():
    """A question is asked by name from the code; the file must be in the package."""
    names = {e.name for e in resources.files("cachemig.catalog").iterdir() if e.name[0] != "_"}
    code = "".join(
        resources.files("cachemig.catalog").joinpath(name).read_text()
        for name in names
        if name.endswith(".py")
    )
    questions = {name.removesuffix(".sql") for name in names if name.endswith(".sql")}

    assert questions
    assert {name for name in questions if f'"{name}"' not in code} == set()
    assert all(query(name).startswith("-- ") for name in questions)


def test_rows_are_written_in_the_order_of_the_table():
    """The CSV has no header to tell."""
    with duckdb.connect() as connection:
        connection.execute(query("inventory_columns"))
        described = connection.execute("DESCRIBE inventory_columns").fetchall()

    assert [row[0] for row in described] == [*InventoryRow._fields, "checked"]


def test_what_is_too_large_for_memory_goes_to_the_disk(tmp_path):
    """The bound holds, and a sort of twice its size still ends."""
    with scratch(tmp_path) as place, connect(place) as connection:
        rows = "SELECT i, repeat(md5(i::VARCHAR), 20) AS text FROM range(400_000) AS t(i)"
        write_parquet(connection, f"{rows} ORDER BY text", place / "sorted.parquet")

        parquet_view(connection, "sorted", place / "sorted.parquet")
        (count,) = connection.execute("SELECT count(*) FROM sorted").fetchone() or (0,)

    assert count == 400_000


def test_a_full_disk_is_told_as_one(tmp_path):
    """Whether DuckDB or the kernel says so."""
    for error in (duckdb.IOException("No space left on device"), OSError(28, os.strerror(28))):
        assert isinstance(translated(error, tmp_path), NoSpaceError)
    assert isinstance(translated(duckdb.IOException("bad magic"), tmp_path), FormatError)


def test_a_wrong_question_is_a_bug_and_not_the_operators_fault(tmp_path):
    """It keeps its traceback."""
    with pytest.raises(duckdb.CatalogException), connect(tmp_path) as connection:
        connection.execute("FROM nowhere")
