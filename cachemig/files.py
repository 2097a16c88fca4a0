"""Files of our own: how one is replaced, and where those of a site are kept."""

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from cachemig.core.disk import own_file_refused
from cachemig.core.quoting import printable
from cachemig.core.shard_text import format_shard_maps, parse_shard_maps
from cachemig.core.shards import Placement, ShardMap, new_map
from cachemig.errors import FormatError, ShardMapError, UsageError

_MAX_BYTES = 1024 * 1024


class ServerShare(Protocol):
    """What a shard map needs to know of a server."""

    @property
    def name(self) -> str:
        """The name in cachemig.toml."""
        ...

    @property
    def weight(self) -> float:
        """The share of the slots, relative to the site's other servers."""
        ...


class SiteOfServers(Protocol):
    """What a shard map needs to know of a site."""

    @property
    def name(self) -> str:
        """The name in cachemig.toml."""
        ...

    @property
    def servers(self) -> Iterable[ServerShare]:
        """The servers that may hold slots."""
        ...


class PlacedCache(Protocol):
    """What a shard map needs to know of a cache."""

    @property
    def name(self) -> str:
        """The name in cachemig.toml."""
        ...

    @property
    def placement(self) -> Placement:
        """Whether the cache is spread over servers."""
        ...


def write_atomically(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Replace a file of ours as a whole: after a power cut it is the old or the new one.

    Makes the directories above it.

    Raises:
        NoSpaceError: no free bytes or inodes are left, or the quota is used up.
        UsageError: the directory can not be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temp = tempfile.mkstemp(prefix=".cm-", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fchmod(descriptor, mode)
                os.fsync(descriptor)
            Path(temp).replace(path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                Path(temp).unlink()
            raise
        _make_durable(path.parent)
    except OSError as error:
        what = "a file of our own can not be written"
        raise own_file_refused(error, str(path), what, UsageError) from error


def shards_path(state_dir: Path, site: str) -> Path:
    """Where the shard maps of a site are kept."""
    return state_dir / "shards" / f"{site}.toml"


def settled_path(state_dir: Path, old_site: str, new_site: str) -> Path:
    """Where a state directory keeps what is settled at a new site, for one old site."""
    return state_dir / "settled" / old_site / f"{new_site}.parquet"


def write_shard_maps(path: Path, maps: Mapping[str, ShardMap]) -> None:
    """Replace the shard maps of one site; `maps` is by cache name and not empty.

    Raises:
        NoSpaceError, UsageError: the state directory can not be written.
    """
    write_atomically(path, format_shard_maps(maps).encode())


def read_shard_maps(path: Path) -> dict[str, ShardMap]:
    """Read the shard maps of a site, by cache name.

    Raises:
        FormatError: the file is missing, empty, unreadable, or not of our format and version.
        ShardMapError: a map leaves a slot out, or names one twice or wrongly.
    """
    maps = kept_shard_maps(path)
    if not maps:
        raise FormatError(
            f"site {printable(path.stem)} has no shard maps",
            path=str(path),
            next_step=f"make them with `cachemig shards init {printable(path.stem)}`",
        )
    return maps


def kept_shard_maps(path: Path) -> dict[str, ShardMap]:
    """Read the shard maps of a site like `read_shard_maps`; none when there is no file."""
    try:
        maps = parse_shard_maps(_content(path).decode())
    except FileNotFoundError as error:
        if path.is_symlink():
            raise _unreadable(path, "it is a link to nowhere") from error
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, str(error)) from error
    except (FormatError, ShardMapError) as error:
        error.path = str(path)
        raise
    strangers = {shard_map.site for shard_map in maps.values()} - {path.stem}
    if strangers:
        raise _unreadable(path, f"it is about site {printable(strangers.pop())}")
    return maps


def effective_maps(
    site: SiteOfServers, caches: Iterable[PlacedCache], state_dir: Path
) -> dict[str, ShardMap]:
    """Tell, by cache name, the map that a site follows now.

    A site with one server needs no file: that server holds everything. Where there is a
    file, its weights and placement count, those of cachemig.toml at the next rebalance.

    Raises:
        ShardMapError: a cache has no map yet, or its map names a server that the site
            does not have.
        FormatError: the file is damaged or too new.
    """
    weights = {server.name: server.weight for server in site.servers}
    path = shards_path(state_dir, site.name)
    kept = kept_shard_maps(path)
    maps: dict[str, ShardMap] = {}
    for cache in caches:
        if cache.name in kept:
            _refuse_strange_servers(kept[cache.name], weights, path)
            maps[cache.name] = kept[cache.name]
        elif len(weights) == 1:
            maps[cache.name] = new_map(site.name, cache.name, weights, cache.placement)
        else:
            raise ShardMapError(
                f"cache {cache.name} has no shard map at site {site.name}",
                path=str(path),
                next_step=f"make one with `cachemig shards init {site.name}`",
            )
    return maps


def _refuse_strange_servers(shard_map: ShardMap, weights: Mapping[str, float], path: Path) -> None:
    strangers = sorted(set(shard_map.owners) - set(weights))
    if strangers:
        raise ShardMapError(
            f"the shard map of cache {shard_map.cache} gives slots to a server that "
            f"site {shard_map.site} does not have",
            server=strangers[0],
            path=str(path),
            next_step="name the server in cachemig.toml, or take its slots away with "
            f"`cachemig shards rebalance {shard_map.site}`",
        )


def _content(path: Path) -> bytes:
    """Read a file of a sane size; a pipe or a device is not waited for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_BYTES:
            raise _unreadable(path, f"it is no regular file of at most {_MAX_BYTES:,} bytes")
        return file.read()


def _unreadable(path: Path, cause: str) -> FormatError:
    return FormatError(
        "the shard maps can not be read",
        path=str(path),
        cause=cause,
        next_step="make the file readable, or put its last good version back",
    )


def _make_durable(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
