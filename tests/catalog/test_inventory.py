"""What an inventory answers, and what it refuses to be."""

import os
from datetime import timedelta

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cachemig.catalog.inventory import Dimension, Oddity, Total, inventory_path, open_inventory
from cachemig.errors import FormatError
from tests.catalog.made import (
    HASH,
    SCANNED_AT,
    Held,
    file,
    inventory_of,
    link,
    listing,
    object_name,
)

NAME = object_name()
OTHER = object_name(HASH.replace("3fa1", "c001"), pn="busybox", task="populate_sysroot")


@pytest.fixture
def inventory(tmp_path):
    """Two servers, an object on one, and all that is odd on the other."""
    return inventory_of(
        tmp_path,
        [
            Held("a", "lmp", listing("3f/a1", file(NAME, 100), file(f"{NAME}.siginfo", 10))),
            Held("b", "lmp", listing("c0/01", file(OTHER, 0), file("x.lock", 0))),
            Held("b", "lmp", listing("c0/02", file(f"{OTHER}.siginfo", 7))),
            Held("b", "lmp", listing("c0/03", link(OTHER, target="/gone"))),
        ],
    )


def test_totals_by_server_add_up_archives_and_companions(inventory):
    """What is odd is counted beside what is sound."""
    assert inventory.totals(Dimension.SERVER) == [
        Total("a", 1, 0, 0, 0, misplaced=0, damaged=0, files=2, size_bytes=110),
        Total("b", 1, 1, 1, 1, misplaced=2, damaged=1, files=3, size_bytes=7),
    ]


@pytest.mark.parametrize(
    ("by", "names"),
    [
        (Dimension.CACHE, ["lmp"]),
        (Dimension.SLOT, ["3f", "c0"]),
        (Dimension.PN, ["busybox", "zlib"]),
        (Dimension.TASK, ["package", "populate_sysroot"]),
        (Dimension.STRAY, ["lock"]),
    ],
)
def test_totals_can_be_split_by_what_a_name_says(inventory, by, names):
    """Strays have no part in it, but where they are the question."""
    assert [total.name for total in inventory.totals(by)] == names


@pytest.mark.parametrize(
    ("which", "names"),
    [
        (Oddity.STRAYS, ["x.lock"]),
        (Oddity.DAMAGED, [OTHER]),
        (Oddity.MISPLACED, [OTHER, OTHER]),
        (Oddity.LINKS, [OTHER]),
    ],
)
def test_what_is_odd_is_listed_one_by_one(inventory, which, names):
    """In order of path."""
    assert [entry.name for entry in inventory.entries(which)] == names


def test_it_says_where_and_when_it_was_made(inventory):
    """So that an old one can be judged when the site is gone; a clock set back is no age."""
    opened = open_inventory(inventory.path)

    assert opened == inventory
    assert (opened.metadata.site, opened.metadata.servers) == ("old", ("a", "b"))
    assert opened.age(SCANNED_AT + timedelta(hours=3)) == timedelta(hours=3)
    assert opened.age(SCANNED_AT - timedelta(hours=3)) == timedelta(0)


stray_names = (
    st.binary(min_size=1, max_size=8).filter(lambda name: not set(name) & set(b"/\0"))
    | st.text("\r\n\t\"',\\ ;é", min_size=1, max_size=6).map(os.fsencode)
).map(os.fsdecode)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sets(stray_names, min_size=1, max_size=20))
def test_any_name_comes_back_as_it_was(tmp_path, names):
    """Line ends, quotes, commas, backslashes, bytes that are not UTF-8."""
    files = [file(name) for name in names]
    made = inventory_of(tmp_path, [Held("a", "lmp", listing("dir", *files))])

    found = {entry.name for entry in made.entries(Oddity.STRAYS)}

    assert found == names


def test_a_missing_inventory_names_the_command_that_makes_one(tmp_path):
    """The operator may never have scanned."""
    with pytest.raises(FormatError) as caught:
        open_inventory(inventory_path(tmp_path, "west"))

    assert "cachemig scan west" in caught.value.next_step


@pytest.mark.parametrize("content", [b"", b"PAR1 and no more", b"[not parquet]" * 100])
def test_a_damaged_inventory_is_refused(tmp_path, content):
    """It is never taken for an empty site."""
    path = tmp_path / "old.parquet"
    path.write_bytes(content)

    with pytest.raises(FormatError, match="damaged"):
        open_inventory(path)


@pytest.mark.parametrize(
    ("metadata", "what"),
    [
        ("", "not written by cachemig"),
        ("format_version: '99'", "newer cachemig"),
        ("format_version: '1', site: 'old'", "damaged"),
    ],
)
def test_a_foreign_or_newer_file_is_refused(tmp_path, metadata, what):
    """Reading it half right would be worse."""
    path = tmp_path / "old.parquet"
    with duckdb.connect() as connection:
        options = f", KV_METADATA {{{metadata}}}" if metadata else ""
        connection.execute(f"COPY (SELECT 1) TO '{path}' (FORMAT parquet{options})")

    with pytest.raises(FormatError, match=what):
        open_inventory(path)


def test_a_file_damaged_in_the_middle_is_told_when_it_is_asked(inventory):
    """Its head and tail may be whole."""
    content = bytearray(inventory.path.read_bytes())
    content[8:400] = bytes(392)
    inventory.path.write_bytes(content)

    with pytest.raises(FormatError, match="is damaged"):
        inventory.totals(Dimension.SERVER)


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_is_no_file_is_no_inventory(tmp_path, kind):
    """Reading a pipe would wait for a writer for ever."""
    path = inventory_path(tmp_path, "old")
    path.parent.mkdir()
    path.mkdir() if kind == "folder" else os.mkfifo(path)

    with pytest.raises(FormatError, match="not a regular file") as caught:
        open_inventory(path)

    assert caught.value.path == str(path)


def test_an_inventory_that_is_replaced_while_it_is_asked_still_answers(inventory):
    """Another scan of the site may end at any moment; the answer is that of one scan."""
    with inventory.session() as connection:
        other = [Held("z", "lmp", listing(f"3f/{n:02x}", file(NAME, n))) for n in range(200)]
        inventory_of(inventory.path.parents[1], other)
        servers = connection.execute("SELECT DISTINCT server FROM inventory ORDER BY 1").fetchall()

    assert servers == [("a",), ("b",)]
