"""The shard maps of a site as text that people read, review and, in need, mend.

TOML, with the slots of each server as ranges. It is read strictly: what a map says must
be whole and unambiguous, or objects would be copied to where nobody looks for them.
docs/formats.md tells the format.
"""

import json
import re
import textwrap
import tomllib
from collections.abc import Mapping
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from cachemig.core.quoting import printable
from cachemig.core.shards import SLOTS, Placement, ShardMap
from cachemig.core.slot_ranges import format_slots, parse_slots
from cachemig.errors import FormatError, ShardMapError

FORMAT: Final = "cachemig shard maps"
VERSION: Final = 1
_ABSURD_VERSION: Final = 1_000_000
_SLOTS_PER_LINE_CHARS: Final = 88
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_MEND = "mend the file (docs/formats.md), or put its last good version back"


class _ServerTable(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    weight: float
    slots: str


class _CacheTable(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    placement: Placement
    server: dict[str, _ServerTable]


class _Document(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    format: Literal["cachemig shard maps"]
    version: Literal[1]
    site: str
    cache: dict[str, _CacheTable]


def format_shard_maps(maps: Mapping[str, ShardMap]) -> str:
    """Write the shard maps of one site; `maps` is by cache name and not empty."""
    site = next(iter(maps.values())).site
    lines = [
        f"# Which server of site {printable(site)} holds which slots of which cache.",
        f"# Written by cachemig; to change it: cachemig shards rebalance {printable(site)}",
        f"format = {_quoted(FORMAT)}",
        f"version = {VERSION}",
        f"site = {_quoted(site)}",
    ]
    for name, shard_map in sorted(maps.items()):
        table = f"cache.{_key(name)}"
        lines += ["", f"[{table}]", f"placement = {_quoted(shard_map.placement)}"]
        for server, weight in sorted(shard_map.weights.items()):
            lines += ["", f"[{table}.server.{_key(server)}]", f"weight = {float(weight)!r}"]
            lines += [f"slots = {_wrapped(format_slots(shard_map.slots_of(server)))}"]
    return "\n".join(lines) + "\n"


def parse_shard_maps(text: str) -> dict[str, ShardMap]:
    """Read what `format_shard_maps` writes; the maps by cache name.

    Raises:
        FormatError: it is no TOML, not of this format, or of a newer version.
        ShardMapError: a map leaves a slot out, or names one twice or wrongly.
    """
    document = _document(text)
    maps: dict[str, ShardMap] = {}
    for name, table in document.cache.items():
        weights = {server: share.weight for server, share in table.server.items()}
        owners = _owners(name, table, text)
        try:
            maps[name] = ShardMap(document.site, name, table.placement, weights, owners)
        except ShardMapError as error:
            raise _unclear(error, text, ("cache", name)) from error
    return maps


def _document(text: str) -> _Document:
    try:
        fields = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _unreadable(str(error)) from error
    except ValueError as error:  # Python reads no integer of more than 4300 decimal digits
        raise _unreadable("a number has too many digits") from error
    except RecursionError as error:
        raise _unreadable("it is nested too deeply") from error
    version = fields.get("version")
    if isinstance(version, int) and VERSION < version < _ABSURD_VERSION:
        raise FormatError(
            f"the shard maps are of version {version}, and this cachemig reads version {VERSION}",
            next_step="use the cachemig that wrote them, or a newer one",
        )
    try:
        return _Document.model_validate(fields)
    except ValidationError as error:
        fault = error.errors()[0]
        keys = tuple(map(str, fault["loc"]))
        raise _unreadable(f"{'.'.join(keys)}: {fault['msg']}{_at_line(text, keys)}") from error


def _owners(name: str, table: _CacheTable, text: str) -> tuple[str, ...]:
    owners: dict[str, str] = {}
    for server, share in table.server.items():
        place = ("cache", name, "server", server)
        try:
            slots = parse_slots(share.slots)
        except ShardMapError as error:
            raise _unclear(error, text, place) from error
        for slot in slots:
            if slot in owners:
                both = f"slot {slot} is given to {owners[slot]} and to {server}"
                once = ShardMapError(both, next_step="leave it to one of them")
                raise _unclear(once, text, place)
            owners[slot] = server
    missing = format_slots(set(SLOTS) - set(owners))
    if missing:
        nobody = ShardMapError(f"no server has {missing}", next_step="give each slot to a server")
        raise _unclear(nobody, text, ("cache", name))
    return tuple(owners[slot] for slot in SLOTS)


def _unclear(fault: ShardMapError, text: str, keys: tuple[str, ...]) -> ShardMapError:
    """Say in which map, and where in the file, a fault is."""
    return ShardMapError(
        f"the shard map of cache {printable(keys[1])} is not complete or not clear",
        server=fault.server or keys[-1] if "server" in keys else fault.server,
        cause=f"{fault.what}{_at_line(text, keys)}",
        next_step=fault.next_step,
    )


def _unreadable(cause: str) -> FormatError:
    return FormatError("the shard maps can not be read", cause=printable(cause), next_step=_MEND)


def _at_line(text: str, keys: tuple[str, ...]) -> str:
    """Say on which line the innermost table of `keys` begins; nothing when it is not found."""
    lines = [line.strip() for line in text.splitlines()]
    for depth in range(len(keys), 0, -1):
        header = f"[{'.'.join(map(_key, keys[:depth]))}]"
        if header in lines:
            return f" (the table on line {lines.index(header) + 1})"
    return ""


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _quoted(name)


def _quoted(text: str) -> str:
    """Write a TOML basic string; it is JSON's, but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _wrapped(slots: str) -> str:
    lines = textwrap.wrap(slots, _SLOTS_PER_LINE_CHARS, break_on_hyphens=False)
    if len(lines) <= 1:
        return _quoted(slots)
    return '"""\n' + "\n".join(lines) + '"""'
