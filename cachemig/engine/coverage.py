"""Does an inventory speak of all that cachemig.toml names? What it omits is not absent."""

from cachemig.catalog.inventory import Inventory
from cachemig.config import Config
from cachemig.errors import FormatError, ScanError


def refuse_gaps(config: Config, inventory: Inventory) -> None:
    """Let nobody conclude from an inventory what it does not say.

    Raises:
        FormatError: it was made before a server or cache was named as it is now.
        ScanError: a cache has no folder on any server of the site.
    """
    site = config.site(inventory.metadata.site)
    seen = inventory.metadata
    gaps = [f"server {server.name}" for server in site.servers if server.name not in seen.servers]
    if seen.folders:
        gaps += [
            f"cache {cache.name} in {cache.path or 'the root'}"
            for cache in config.caches
            if seen.folders.get(cache.name) != cache.path
        ]
    if gaps:
        raise FormatError(
            f"the inventory of site {site.name} says nothing about {', '.join(gaps)}",
            path=str(inventory.path),
            cause="cachemig.toml was changed after the last scan",
            next_step=f"run `cachemig scan {site.name}`, or name in cachemig.toml what was scanned",
        )
    absent = [cache for cache in config.caches if cache.name in seen.absent]
    if absent:
        raise ScanError(
            f"no server of site {site.name} has cache {absent[0].name}",
            path=absent[0].path,
            cause="there is no such folder; its path may be misspelt, or an export not mounted",
            next_step="mend its path in cachemig.toml; if the site has none of it, say so once: "
            f"`cachemig scan {site.name} --allow-empty`",
        )
