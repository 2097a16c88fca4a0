"""`cachemig shards ...`: which server of a site holds which part of a cache."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from enum import StrEnum, auto
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from cachemig.cli.options import DryRunOption, SiteArgument, command_group
from cachemig.cli.run import Run, framed
from cachemig.errors import UsageError

if TYPE_CHECKING:
    from cachemig.config import Cache, Config, Site
    from cachemig.core.shards import ShardMap

app = command_group("Decide which server of a site holds which part of a cache.")


class RenderKind(StrEnum):
    """What a shard map can be rendered as."""

    MIRRORS = auto()


DrainOption = Annotated[
    list[str] | None,
    typer.Option("--drain", metavar="SERVER", help="Take all slots from this server; repeat."),
]
BaseUrlOption = Annotated[
    list[str],
    typer.Option(
        "--base-url",
        metavar="NAME=URL",
        help="Where builds reach the root of a server: http, https or file; repeat.",
    ),
]
CacheOption = Annotated[
    str | None,
    typer.Option("--cache", metavar="CACHE", help="The cache, when there are several."),
]
KindArgument = Annotated[
    RenderKind, typer.Argument(metavar="KIND", help="mirrors: bitbake's SSTATE_MIRRORS.")
]


class Share(NamedTuple):
    """What one server holds of one cache; `which` are the slots."""

    cache: str
    placement: str
    server: str
    weight: float
    slots: int
    which: str


class Transfer(NamedTuple):
    """The slots of one cache that change from one server to another."""

    cache: str
    source: str
    target: str
    slots: int
    which: str


class Rendered(NamedTuple):
    """A shard map in another program's words."""

    cache: str
    kind: str
    text: str


@app.command()
@framed
def init(run: Run, site: SiteArgument, *, dry_run: DryRunOption = False) -> None:
    """Share the slots of every cache that has no map yet out among the servers of SITE."""
    from cachemig.core.shards import new_map
    from cachemig.files import kept_shard_maps, shards_path, write_shard_maps

    config = run.config
    chosen = config.site(site)
    path = shards_path(config.state_dir, chosen.name)
    kept = kept_shard_maps(path)
    made = {
        cache.name: new_map(chosen.name, cache.name, _weights(chosen), cache.placement)
        for cache in config.caches
        if cache.name not in kept
    }
    if not made:
        raise UsageError(
            f"every cache has a shard map at site {chosen.name} already",
            path=str(path),
            next_step=f"look at it with `cachemig shards show {chosen.name}`; to follow changed "
            f"servers or weights: `cachemig shards rebalance {chosen.name}`",
        )
    if not dry_run:
        write_shard_maps(path, kept | made)
    run.show("shards", _shares(made.values()))
    run.say("nothing was written" if dry_run else f"the map is in {path}")


@app.command()
@framed
def show(run: Run, site: SiteArgument) -> None:
    """Print who holds which slots at SITE, and whether cachemig.toml has changed since."""
    from cachemig.core.shards import moves, rebalance
    from cachemig.files import effective_maps

    config = run.config
    chosen = config.site(site)
    maps = effective_maps(chosen, config.caches, config.state_dir)
    run.show("shards", _shares(maps.values()))
    stale = sum(
        len(moves(maps[cache.name], rebalance(maps[cache.name], _weights(chosen), cache.placement)))
        for cache in config.caches
    )
    if stale:
        run.say(
            "the map does not follow the servers and weights of cachemig.toml: "
            f"`cachemig shards rebalance {chosen.name}` would move {stale} slots"
        )


@app.command(name="rebalance")
@framed
def rebalance_site(
    run: Run, site: SiteArgument, *, drain: DrainOption = None, dry_run: DryRunOption = False
) -> None:
    """Follow the servers and weights of cachemig.toml with the fewest moves of slots."""
    from cachemig.core.shards import rebalance
    from cachemig.files import read_shard_maps, shards_path, write_shard_maps

    config = run.config
    chosen = config.site(site)
    drained = {chosen.server(name).name: 0.0 for name in drain or []}
    path = shards_path(config.state_dir, chosen.name)
    before = read_shard_maps(path)
    after = {
        cache.name: rebalance(before[cache.name], _weights(chosen) | drained, cache.placement)
        for cache in config.caches
        if cache.name in before
    }
    transfers = _transfers(before, after)
    run.show("moves", transfers)
    if not dry_run:
        write_shard_maps(path, before | after)
    run.say(_verdict(sum(transfer.slots for transfer in transfers), dry_run=dry_run))


@app.command()
@framed
def render(
    run: Run,
    kind: KindArgument,
    site: SiteArgument,
    *,
    base_url: BaseUrlOption,
    cache: CacheOption = None,
) -> None:
    """Print the shard map of SITE as a setting of another program."""
    from cachemig.core.mirrors import sstate_mirrors
    from cachemig.files import effective_maps

    config = run.config
    chosen = config.site(site)
    wanted = _one_cache(config, cache)
    shard_map = effective_maps(chosen, [wanted], config.state_dir)[wanted.name]
    text = sstate_mirrors(shard_map, _base_urls(base_url, wanted))
    if run.json:
        run.show("rendered", [Rendered(wanted.name, kind, text)])
    else:
        run.echo(text.rstrip("\n"))


def _weights(site: "Site") -> dict[str, float]:
    return {server.name: server.weight for server in site.servers}


def _shares(maps: Iterable["ShardMap"]) -> list[Share]:
    from cachemig.core.slot_ranges import format_slots

    return [
        Share(m.cache, m.placement, server, weight, len(slots), format_slots(slots))
        for m in maps
        for server, weight in m.weights.items()
        for slots in [m.slots_of(server)]
    ]


def _transfers(before: Mapping[str, "ShardMap"], after: Mapping[str, "ShardMap"]) -> list[Transfer]:
    from cachemig.core.shards import moves
    from cachemig.core.slot_ranges import format_slots

    slots: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for name, shard_map in after.items():
        for move in moves(before[name], shard_map):
            slots[move.cache, move.source, move.target].append(move.slot)
    return [Transfer(*ends, len(moved), format_slots(moved)) for ends, moved in slots.items()]


def _verdict(moved_slots: int, *, dry_run: bool) -> str:
    if not moved_slots:
        return "no slot moves"
    if dry_run:
        return f"{moved_slots} slots would move; nothing was written"
    return f"{moved_slots} slots have a new server in the map; their objects lie where they lay"


def _one_cache(config: "Config", name: str | None) -> "Cache":
    if name is not None:
        return config.cache(name)
    if len(config.caches) > 1:
        raise UsageError(
            "there are several caches, and a build follows the setting of one",
            next_step=f"add --cache, one of: {', '.join(cache.name for cache in config.caches)}",
        )
    return config.caches[0]


def _base_urls(given: Iterable[str], cache: "Cache") -> dict[str, str]:
    """Read NAME=URL pairs; the URLs that come out are of the cache's folder."""
    urls: dict[str, str] = {}
    for pair in given:
        server, equals, url = pair.partition("=")
        if not (server and equals and url) or server in urls:
            raise UsageError(
                "a --base-url is not NAME=URL, or names a server for the second time",
                server=server,
                next_step="write it once for each server: --base-url NAME=URL",
            )
        urls[server] = f"{url.rstrip('/')}/{cache.path}".rstrip("/")
    return urls
