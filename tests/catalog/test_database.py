"""Scratch space, questions, and files that are whole or not there."""

import errno
import fcntl
import os
import subprocess
import sys
from importlib import resources

import duckdb
import pytest

from cachemig.catalog.database import (
    connect,
    parquet_view,
    publish,
    query,
    read_metadata,
    scratch,
    write_parquet,
)
from cachemig.catalog.rows import InventoryRow
from cachemig.errors import FormatError, NoSpaceError, UsageError


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


HAMMER = """
import sys
from pathlib import Path
from cachemig.catalog.database import scratch
for _ in range(250):
    with scratch(Path(sys.argv[1])) as place:
        (place / "rows.csv").write_text("1")
        assert (place / "rows.csv").read_text() == "1"
"""


def test_processes_that_work_at_once_do_not_sweep_each_other(tmp_path):
    """Scratch space that was just made has no lock yet; it must not be taken for a dead one's."""
    argv = [sys.executable, "-c", HAMMER, str(tmp_path)]
    processes = [subprocess.Popen(argv, stderr=subprocess.PIPE) for _ in range(4)]
    told = [process.communicate(timeout=60)[1].decode() for process in processes]

    assert told == [""] * 4
    assert not any(tmp_path.iterdir())


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


def write_some(state_dir):
    """Do what every catalog does: collect, sort, and give the result its name."""
    with scratch(state_dir) as place:
        (place / "rows.csv").write_text("1\n")
        with connect(place) as connection:
            rows = "SELECT i, md5(i::VARCHAR) AS text FROM range(1000) AS t(i)"
            write_parquet(connection, rows, place / "draft.parquet")
        publish(place / "draft.parquet", state_dir / "kept" / "some.parquet")


def read(path):
    """Read all of what was written."""
    with connect(path.parent) as connection:
        parquet_view(connection, "kept", path)
        connection.execute("SELECT sum(hash(kept)) FROM kept").fetchall()


@pytest.mark.parametrize("operation", ["write", "mkdir", "create", "rename", "fsync"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_or_quota_is_told_as_one(tmp_path, faulty_disk, number, operation):
    """Whether DuckDB or the kernel says so, and in whatever words."""
    state_dir = tmp_path / "state"
    state_dir.mkdir()
    faulty_disk(state_dir).fail(f"{operation} {number} 100")

    with pytest.raises(NoSpaceError) as caught:
        write_some(state_dir)

    assert caught.value.path.startswith(str(state_dir))
    assert os.strerror(number) in caught.value.cause
    assert "quota" in caught.value.next_step


@pytest.mark.parametrize("operation", ["mkdir", "create", "rename"])
@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EIO])
def test_what_the_disk_forbids_is_not_our_fault(tmp_path, faulty_disk, number, operation):
    """The error names the file and what to do; exit code 1 is for bugs."""
    state_dir = tmp_path / "state"
    state_dir.mkdir()
    faulty_disk(state_dir).fail(f"{operation} {number} 100")

    with pytest.raises(UsageError) as caught:
        write_some(state_dir)

    assert caught.value.path.startswith(f"{state_dir}/")
    assert os.strerror(number) in caught.value.cause
    assert "state_dir" in caught.value.next_step


def test_a_file_that_may_not_be_read_is_not_damaged(tmp_path, faulty_disk):
    """Moving it away would be the wrong advice."""
    state_dir = tmp_path / "state"
    write_some(state_dir)
    faulty_disk(state_dir).fail(f"open {errno.EACCES} 100 some.parquet")
    path = state_dir / "kept" / "some.parquet"

    with pytest.raises(UsageError) as caught:
        read(path)
    with pytest.raises(UsageError) as told:
        read_metadata(path, "the inventory", 1)

    assert caught.value.path == told.value.path == str(path)
    assert not isinstance(caught.value, FormatError)
    assert not isinstance(told.value, FormatError)


def test_a_file_that_went_away_is_not_damaged(tmp_path):
    """Somebody removed the state while a run was under way."""
    write_some(tmp_path)
    path = tmp_path / "kept" / "some.parquet"
    path.unlink()

    with pytest.raises(UsageError) as caught:
        read(path)

    assert not isinstance(caught.value, FormatError)
    assert (caught.value.path, caught.value.cause) == (str(path), os.strerror(errno.ENOENT))


@pytest.mark.parametrize("start", [0.0, 0.99])
def test_a_damaged_file_is_named(tmp_path, start):
    """Its folder holds many, and only one is to be moved away."""
    write_some(tmp_path)
    path = tmp_path / "kept" / "some.parquet"
    whole = path.read_bytes()
    at = int(len(whole) * start)
    path.write_bytes(whole[:at] + b"\xff" * 64 + whole[at + 64 :])

    with pytest.raises(FormatError) as caught:
        read(path)

    assert caught.value.path == str(path)
    assert "move it away" in caught.value.next_step


def test_a_wrong_question_is_a_bug_and_not_the_operators_fault(tmp_path):
    """It keeps its traceback."""
    with pytest.raises(duckdb.CatalogException), connect(tmp_path) as connection:
        connection.execute("FROM nowhere")
