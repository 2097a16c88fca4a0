"""Writes docs/commands.md from what `--help` says, or checks that it still says so."""

import difflib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from cachemig.cli.app import app

PAGE = Path(__file__).with_name("commands.md")
_HEAD = """\
# Commands

What `cachemig COMMAND --help` says, of every command. Written by `make docs`; `make check`
fails when it is out of date. Exit codes and messages: [messages.md](messages.md).
"""
_COLUMNS = 100


def sections(command: Any, path: str) -> Iterator[str]:
    """The help text of a command and of all below it, as Markdown.

    Args:
        command: a command of typer's, which has no public type for it.
        path: how to call it.
    """
    settings = {**command.context_settings, "terminal_width": _COLUMNS}
    with typer.Context(command, info_name=path, **settings) as context:
        level = "#" * min(4, 1 + len(path.split()))
        yield f"\n{level} {path}\n\n```\n{command.get_help(context).strip()}\n```\n"
    for name, child in sorted(getattr(command, "commands", {}).items()):
        yield from sections(child, f"{path} {name}")


def main(arguments: list[str]) -> int:
    """Write the page, or with --check only compare it."""
    page = _HEAD + "".join(sections(typer.main.get_command(app), "cachemig"))
    if arguments != ["--check"]:
        PAGE.write_text(page, encoding="utf-8")
        return 0
    written = PAGE.read_text(encoding="utf-8")
    changes = difflib.unified_diff(
        written.splitlines(), page.splitlines(), str(PAGE), "cachemig --help", lineterm=""
    )
    for line in changes:
        print(line)
    if written != page:
        print("docs/commands.md is out of date; run `make docs`", file=sys.stderr)
    return int(written != page)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
