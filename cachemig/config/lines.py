"""On which line of a TOML file a key stands, so that a fault can be pointed at.

tomllib tells no positions. A TOML file is a row of statements, each of which is valid
TOML alone: so lines are gathered until they parse, and what they then define is noted.
"""

import tomllib
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

KeyPath: TypeAlias = tuple[str | int, ...]

_MAX_STATEMENT_LINES = 2000
_CLOSING = ("]", "}", '"""', "'''")


def line_finder(document: str) -> Callable[[KeyPath], int]:
    """Read a valid TOML file once, so that keys can be looked up in it.

    What is given back finds the line where a key, or else the nearest table around it, is first
    defined. It takes keys, and positions in arrays of tables, from the top.
    """
    table: KeyPath = ()
    elements: dict[KeyPath, int] = {}
    first_lines: dict[KeyPath, int] = {(): 1}
    for line, statement in _statements(document):
        parsed = tomllib.loads(statement)
        if statement.lstrip().startswith("["):
            table = _table_path(parsed, elements)
            path = table
        else:
            path = table + _keys(parsed)
        for depth in range(1, len(path) + 1):
            first_lines.setdefault(path[:depth], line)

    def find(wanted: KeyPath) -> int:
        depths = range(len(wanted), -1, -1)
        return next(line for d in depths if (line := first_lines.get(wanted[:d])) is not None)

    return find


def _statements(document: str) -> Iterator[tuple[int, str]]:
    """Split into statements, each with its first line; comments and empty lines left out."""
    gathered: list[str] = []
    first_line = 1
    for line, text in enumerate(document.split("\n"), start=1):
        if not gathered:
            first_line = line
            if not text.strip() or text.lstrip().startswith("#"):
                continue
        gathered.append(text)
        may_end = len(gathered) == 1 or any(closing in text for closing in _CLOSING)
        if may_end and _is_valid(statement := "\n".join(gathered)):
            yield first_line, statement
            gathered = []
        elif len(gathered) > _MAX_STATEMENT_LINES:
            return


def _is_valid(statement: str) -> bool:
    try:
        tomllib.loads(statement)
    except tomllib.TOMLDecodeError:
        return False
    return True


def _table_path(header: Mapping[str, object], elements: dict[KeyPath, int]) -> KeyPath:
    """Follow a header to the table it opens; `elements` counts the arrays met so far."""
    path: KeyPath = ()
    inner: object = header
    while isinstance(inner, Mapping) and inner:
        name, inner = next(iter(inner.items()))
        path += (str(name),)
        if isinstance(inner, list):
            elements[path] = elements.get(path, -1) + 1
            inner = inner[0]
        if path in elements:
            path += (elements[path],)
    return path


def _keys(assignment: Mapping[str, object]) -> KeyPath:
    """Name the keys that a dotted assignment goes through; the value counts no more."""
    path: KeyPath = ()
    inner: object = assignment
    while isinstance(inner, Mapping) and len(inner) == 1:
        name, inner = next(iter(inner.items()))
        path += (str(name),)
    return path
