"""Secrets taken out of command lines before they are shown or kept."""

import re
from collections.abc import Sequence

_SECRET_OPTION = re.compile(r"^(--?[\w-]*(?:password|passphrase|secret|token|credential)[\w-]*)$")
_SECRET_VALUE = re.compile(
    r"((?:password|passphrase|secret|token|credential|signature)[\w-]*=)[^&\s]+", re.IGNORECASE
)
_URL_PASSWORD = re.compile(r"(://[^/@:\s]*:)[^/@\s]+(@)")


def redacted(argv: Sequence[str]) -> tuple[str, ...]:
    """Replace passwords in URLs, and values that are named as secret, by ``***``."""
    shown: list[str] = []
    for word in argv:
        if shown and _SECRET_OPTION.match(shown[-1].lower()) and not word.startswith("-"):
            shown.append("***")
        else:
            shown.append(_SECRET_VALUE.sub(r"\1***", _URL_PASSWORD.sub(r"\1***\2", word)))
    return tuple(shown)
