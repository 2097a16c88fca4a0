"""SSTATE_MIRRORS: the lines by which an unpatched bitbake follows a shard map.

bitbake asks for ``file://[<native>/]xx/yy/sstate:...`` and matches the path against a
regular expression, at its start only, replacing just what matched. So the expression
must reach from the start of the path to its end. It must also hold on to ``/yy/sstate:``:
without that, the optional native directory swallows ``xx`` and the second level is taken
for the slot, so that objects are looked for on two servers.

Source: bitbake c251833d, lib/bb/fetch2/__init__.py, uri_replace(), build_mirroruris().
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from cachemig.core.quoting import printable
from cachemig.core.shards import ShardMap
from cachemig.errors import UsageError

_ANY: Final = "[0-9a-f]"
_BASE_URL = re.compile(r"(?:https?://[^/@]+(?:/.*)?|file:///.*)")
_NOT_IN_A_VALUE = re.compile(r"[\s;\"'$\\{}?#]")
_REPLACED_WORDS = re.compile(r"TYPE|HOST|PATH|BASENAME|MIRRORNAME")
_BASE_URL_FORM = "write NAME=http://HOST/DIRECTORY, https:// likewise, or NAME=file:///DIRECTORY"


def sstate_mirrors(shard_map: ShardMap, base_urls: Mapping[str, str]) -> str:
    """Write the setting that sends bitbake to the one server that holds an object's slot.

    It fits plain objects and those of any native directory, in the layout that bitbake
    has had since dunfell.

    Args:
        shard_map: of the cache.
        base_urls: by server, where its folder of this cache is served; http, https, file.

    Raises:
        UsageError: a server that holds slots has no URL, or one that bitbake can not use.
    """
    _refuse_unknown(base_urls, shard_map)
    lines = [
        f"# Cache {printable(shard_map.cache)} of site {printable(shard_map.site)}.",
        'SSTATE_MIRRORS = "\\',
    ]
    for server in sorted(set(shard_map.owners)):
        slots = slots_expression(shard_map.slots_of(server))
        url = _target(server, base_urls)
        lines.append(f"    file://(.*/)?{slots}/{_ANY}{_ANY}/sstate:.* {url} \\")
    return "\n".join([*lines, '"', ""])


def slots_expression(slots: Iterable[str]) -> str:
    """Write a regular expression that matches these slots and no others; not for none."""
    second_digits: dict[str, str] = {}
    for slot in sorted(slots):
        second_digits[slot[0]] = second_digits.get(slot[0], "") + slot[1]
    first_digits: dict[str, str] = {}
    for first, seconds in second_digits.items():
        first_digits[seconds] = first_digits.get(seconds, "") + first
    choices = [_one_of(firsts) + _one_of(seconds) for seconds, firsts in first_digits.items()]
    return choices[0] if len(choices) == 1 else f"({'|'.join(choices)})"


def _one_of(digits: str) -> str:
    """Write a class of hex digits; `digits` is sorted."""
    if len(digits) == 1:
        return digits
    return f"[{_ranges(digits, '0123456789')}{_ranges(digits, 'abcdef')}]"


def _ranges(digits: str, alphabet: str) -> str:
    marked = "".join(digit if digit in digits else " " for digit in alphabet)
    return "".join(
        run if len(run) <= 2 else f"{run[0]}-{run[-1]}"  # noqa: PLR2004  "ab" is short enough
        for run in marked.split()
    )


def _target(server: str, base_urls: Mapping[str, str]) -> str:
    if server not in base_urls:
        raise UsageError(
            "nobody said under which URL builds reach a server that holds slots",
            server=server,
            next_step=f"add --base-url {server}=URL",
        )
    base = base_urls[server].rstrip("/")
    fault = _fault_of(base)
    if fault:
        raise UsageError(
            f"the server's base URL is no use to bitbake: {fault}",
            server=server,
            next_step=_BASE_URL_FORM,
        )
    return f"{base}/PATH" if base.startswith("file:") else f"{base}/PATH;downloadfilename=PATH"


def _fault_of(base: str) -> str:
    if "@" in base:
        return "a user or password belongs into ~/.netrc of the builders"
    if not base.isprintable() or _NOT_IN_A_VALUE.search(base):
        return "it holds a character that has a meaning of its own in a mirror's URL"
    if not _BASE_URL.fullmatch(f"{base}/"):
        return "it is no http, https or file URL"
    word = _REPLACED_WORDS.search(base)
    return f"bitbake replaces the word {word[0]} in it" if word else ""


def _refuse_unknown(base_urls: Mapping[str, str], shard_map: ShardMap) -> None:
    unknown = sorted(set(base_urls) - set(shard_map.weights))
    if unknown:
        raise UsageError(
            f"cache {printable(shard_map.cache)} has no server {printable(unknown[0])!r}",
            next_step=f"name one of: {', '.join(map(printable, sorted(shard_map.weights)))}",
        )
