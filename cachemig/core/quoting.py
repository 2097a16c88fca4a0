r"""How foreign text is made safe to print, and how any path becomes valid UTF-8.

Names come from other people's servers. Printed raw they could move the cursor, forge a
log line or hide their end behind a bidirectional override.

Two forms, for two readers. `printable` is for people, and only loses what can not be
seen. `escape_path` is for files of ours: it can be undone, byte for byte.
"""

import re

from cachemig.errors import FormatError

_MUST_BE_ESCAPED = re.compile(r"[\\\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_ESCAPED = re.compile(
    r"\\(\\|x[89a-f][0-9a-f]|ud[89a-f][0-9a-f]{2}|u00[0189][0-9a-f]|u007f|)", re.DOTALL
)
_FIRST_ESCAPED_BYTE, _LAST_ESCAPED_BYTE = 0xDC80, 0xDCFF  # what os.fsdecode makes of bad bytes


def printable(text: str) -> str:
    r"""Show every character that a terminal or a log would act upon as a visible escape.

    Control characters (C0, C1), line ends, bidirectional controls, lone surrogates and
    whatever else Unicode calls unprintable become ``\n``, ``\x1b``, ``\u202e`` and so on.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _visible(c) for c in text)


def escape_path(path: str) -> str:
    r"""Write a path as valid UTF-8 that `unescape_path` turns back into the same path.

    It has no line end. A backslash is doubled; a byte that is not UTF-8 becomes ``\xHH``, a
    control character ``\u00HH``.
    """
    if path.isascii() and path.isprintable() and "\\" not in path:
        return path
    return _MUST_BE_ESCAPED.sub(_escape, path)


def unescape_path(text: str) -> str:
    """Undo `escape_path`.

    Raises:
        FormatError: a backslash starts no escape of ours.
    """
    return _ESCAPED.sub(_unescape, text) if "\\" in text else text


def _visible(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _escape(match: re.Match[str]) -> str:
    if match[0] == "\\":
        return "\\\\"
    code = ord(match[0])
    if _FIRST_ESCAPED_BYTE <= code <= _LAST_ESCAPED_BYTE:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}"


def _unescape(match: re.Match[str]) -> str:
    escape = match[1]
    if not escape:
        raise FormatError(
            "a stored path holds a backslash that starts no escape",
            path=printable(match.string),
            next_step="make the file anew with `cachemig scan`",
        )
    if escape == "\\":
        return "\\"
    code = int(escape[1:], 16)
    return chr(0xDC00 + code if escape[0] == "x" else code)
