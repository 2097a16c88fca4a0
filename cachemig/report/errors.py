"""An error as text for a tired operator: what, where, why, what next, where to read on."""

from cachemig.errors import CachemigError


def error_text(error: CachemigError) -> str:
    """Print an error on as many lines as it has something to say."""
    where = "".join(
        [
            f"\n  on {error.server}" if error.server else "",
            f': "{error.path}"' if error.path else "",
        ]
    )
    because = f"\n  because: {error.cause}" if error.cause else ""
    then = f"\n  next: {error.next_step}" if error.next_step else ""
    return f"cachemig: {error.what}{where}{because}{then}\n  more: docs/messages.md#{error.slug}"
