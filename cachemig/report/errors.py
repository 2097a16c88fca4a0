"""An error as text for a tired operator: what, where, why, what next, where to read on."""

import traceback
from collections.abc import Iterator

from cachemig.core.quoting import printable
from cachemig.errors import CachemigError


def error_text(error: CachemigError) -> str:
    """Print an error on as many lines as it has something to say."""
    return "\n  ".join(_lines(error))


def error_origin(error: CachemigError) -> str:
    """Print where in cachemig an error was raised, and all that led to it."""
    told = "".join(traceback.format_exception(error))
    return "\n".join(printable(line) for line in told.splitlines())


def _lines(error: CachemigError) -> Iterator[str]:
    yield f"cachemig: {_lines_kept(error.what)}"
    path = f'"{printable(error.path)}"' if error.path else ""
    if error.server:
        server = printable(error.server)
        yield f"on {server}: {path}" if path else f"on {server}"
    elif path:
        yield f"at {path}"
    if error.cause:
        yield f"because: {_lines_kept(error.cause)}"
    if error.next_step:
        yield f"next: {_lines_kept(error.next_step)}"
    yield f"more: docs/messages.md#{error.slug}"


def _lines_kept(text: str) -> str:
    """Make a text of several lines safe to print, and keep it below its first line."""
    return "\n    ".join(printable(line) for line in text.splitlines())
