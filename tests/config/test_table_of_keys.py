"""The table of all keys of cachemig.toml in the documentation, held against the schema."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, get_args, get_origin

import pytest
from pydantic.fields import FieldInfo

from cachemig.config import load
from cachemig.config.schema import FileTable, Table

PAGE = Path(__file__).parents[2] / "docs" / "formats.md"
SECTION = re.search(
    r"^## cachemig\.toml\n(.*?)^## ", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL
)
REQUIRED, NONE = "required", "none"
ALL_TABLES = """
{top}
[ssh]
{ssh}
[sync]
{sync}
[site.a]
{site}
[[site.a.server]]
name = "s"
url = "/srv/s"
{server}
[cache.c]
path = "c"
{cache}
[customer.x]
caches = ["c"]
{customer}
"""


class Key(NamedTuple):
    """One row of the table."""

    path: str
    type: str
    default: str
    meaning: str


def rows() -> list[Key]:
    """All rows, without the heads."""
    assert SECTION
    lines = [line for line in SECTION[1].splitlines() if line.startswith("| `")]
    return [Key(*(cell.strip() for cell in line.strip("|").split("|"))) for line in lines]


def schema_keys(model: type[Table], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every key that holds a value, with NAME for what the file's author chooses."""
    for name, field in model.model_fields.items():
        parts = (field.annotation, *get_args(field.annotation))
        tables = [part for part in parts if isinstance(part, type) and issubclass(part, Table)]
        named = ".NAME" if get_origin(field.annotation) is dict else ""
        for table in tables:
            yield from schema_keys(table, f"{prefix}{name}{named}.")
        if not tables:
            yield f"{prefix}{name}", field


KEYS = dict(schema_keys(FileTable))
WITH_DEFAULT = [row for row in rows() if row.default not in {REQUIRED, NONE}]


def config(folder: Path, row: Key | None = None):
    """Load a file with all tables, and with one default written out if a row is given."""
    lines = dict.fromkeys(("top", "ssh", "sync", "site", "server", "cache", "customer"), "")
    if row is not None:
        *table, key = re.sub(r"`|\.NAME", "", row.path).split(".")
        lines[table[-1] if table else "top"] = f"{key} = {row.default.strip('`')}"
    path = folder / "cachemig.toml"
    path.write_text(ALL_TABLES.format_map(lines), encoding="utf-8")
    return load(path)


def test_the_table_has_every_key_and_no_other():
    """Once each; a key that is added, renamed or dropped is so in the table as well."""
    assert sorted(row.path for row in rows()) == sorted(f"`{key}`" for key in KEYS)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.path.strip("`"))
def test_what_is_required_is_said_to_be(row):
    """And of what is not, what holds without it; each with a type and a meaning."""
    field = KEYS[row.path.strip("`")]

    assert (row.default == REQUIRED) == field.is_required()
    assert row.type
    assert row.meaning


@pytest.mark.parametrize("row", WITH_DEFAULT, ids=lambda row: row.path.strip("`"))
def test_a_default_written_out_changes_nothing(tmp_path, row):
    """It is valid TOML for this key, and what holds when the key is left out."""
    assert config(tmp_path, row) == config(tmp_path)


def test_keys_without_a_default_are_said_to_have_none():
    """Those that the schema leaves open, but for two that get their value later."""
    later = {"state_dir", "site.NAME.server.weight"}
    open_keys = {key for key, field in KEYS.items() if field.default is None} - later

    assert {row.path.strip("`") for row in rows() if row.default == NONE} == open_keys
