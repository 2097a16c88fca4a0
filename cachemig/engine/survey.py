"""Connect to a site and scan it: how commands come by an inventory."""

from datetime import UTC, datetime

from cachemig.catalog.inventory import Inventory, inventory_path, open_inventory
from cachemig.catalog.rooting import Rooting, rootings
from cachemig.config import Config, Site
from cachemig.core.events import Notice, Tell
from cachemig.core.units import print_duration
from cachemig.engine.scan import ScannedSite, ScanOptions, ScanResult, scan
from cachemig.errors import AccessError, ScanError
from cachemig.stores.open import open_site


def scan_site(config: Config, site: Site, options: ScanOptions, tell: Tell) -> ScanResult:
    """Scan a site's servers into its inventory.

    Raises:
        AccessError: a server does not answer.
        ScanError: a cache could not be read whole.
    """
    folders = {cache.name: cache.path for cache in config.caches}
    try:
        with open_site(config, site) as stores:
            scanned = ScannedSite(site.name, stores, folders)
            result = scan(scanned, config.state_dir, options, tell)
    except AccessError as error:
        error.next_step += _instead(config, site)
        raise
    _tell_doubts(result.inventory, tell)
    return result


def _instead(config: Config, site: Site) -> str:
    """What a scan that did not come to its end leaves to go by."""
    path = inventory_path(config.state_dir, site.name)
    rule = f"; a scan reads all servers of {site.name} or counts none"
    if not path.exists():
        return rule
    age = _age(open_inventory(path))
    return (
        f"{rule}, so its inventory of {age} ago was kept: with --saved, a sync from"
        f" {site.name} goes by that and brings what the other servers hold"
    )


def _age(inventory: Inventory) -> str:
    return print_duration(int(inventory.age(datetime.now(UTC)).total_seconds()))


def saved_inventory(config: Config, site: Site, tell: Tell) -> Inventory:
    """Open what the last scan of a site saw, and tell how old that is.

    Raises:
        FormatError: the site was never scanned, or the inventory is damaged.
    """
    inventory = open_inventory(inventory_path(config.state_dir, site.name))
    tell(Notice(f"{site.name}: going by its inventory of {_age(inventory)} ago"))
    return inventory


def refuse_empty(inventory: Inventory) -> None:
    """Take no site without any object for one that has nothing to bring, or to prove.

    Raises:
        ScanError: there is no object, signature or link at all.
    """
    if not rootings(inventory):
        site, servers = inventory.metadata.site, inventory.metadata.servers
        raise ScanError(
            f"site {site} holds no object at all, so there is nothing to bring or to compare",
            server=", ".join(servers),
            cause="an export may not be mounted, or a url or a cache's path may be wrong",
            next_step=f"look at the servers, mend that, then `cachemig scan {site}`",
        )


def _tell_doubts(inventory: Inventory, tell: Tell) -> None:
    """Say which roots look as if they were wrong; only a person can know."""
    found = rootings(inventory)
    holding = {rooting.server for rooting in found}
    for server in inventory.metadata.servers:
        if server not in holding:
            tell(
                Notice(
                    f"{server} holds no object at all: if it should, its export is not mounted,"
                    " or its url or a cache's path is wrong"
                )
            )
    for rooting in found:
        doubt = _doubt(rooting)
        if doubt:
            tell(Notice(f"{rooting.server}, cache {rooting.cache}: {doubt}"))


def _doubt(rooting: Rooting) -> str:
    """Why a root may be a level off; empty when nothing speaks for it."""
    if rooting.misplaced * 2 > rooting.objects:
        return (
            f"{rooting.misplaced} of {rooting.objects} objects lie where no build looks for them;"
            " is the root, or the cache's path, a level too low?"
        )
    if rooting.all_below:
        return (
            f"all objects lie below {rooting.all_below}/, and none directly below a slot;"
            " is the root, or the cache's path, a level too high?"
        )
    return ""


def scanned_or_saved(config: Config, site: Site, tell: Tell) -> Inventory:
    """Scan a site; when it does not answer, fall back to what the last scan saw.

    Raises:
        FormatError: it does not answer and was never scanned.
    """
    try:
        return scan_site(config, site, ScanOptions(), tell).inventory
    except AccessError as error:
        tell(Notice(f"{site.name} does not answer ({error.server}: {error.what})"))
        return saved_inventory(config, site, tell)
