"""Servers that a shard map knows nothing of: they get nothing, which should be said."""

from typing import TYPE_CHECKING

from cachemig.cli.run import Run

if TYPE_CHECKING:
    from cachemig.config import Config, Site


def tell_unmapped(run: Run, config: "Config", site: "Site") -> None:
    """Name the servers that came into cachemig.toml after the site's shard map was made.

    Raises:
        ShardMapError: the site has several servers and no shard map.
    """
    from cachemig.files import effective_maps

    maps = effective_maps(site, config.caches, config.state_dir).values()
    known = {server for shard_map in maps for server in shard_map.weights}
    for server in site.servers:
        if server.name not in known:
            run.say(
                f"{server.name} is in cachemig.toml, but not in the shard map of {site.name}: "
                f"it gets nothing until `cachemig shards rebalance {site.name}`"
            )
