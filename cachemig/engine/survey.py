"""Connect to a site and scan it: how commands come by an inventory."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cachemig.catalog.inventory import Inventory, inventory_path, open_inventory
from cachemig.catalog.rooting import Rooting, rootings
from cachemig.config import Config, Site
from cachemig.core.events import Notice, ServerProblem, Tell
from cachemig.core.units import format_duration
from cachemig.engine.scan import ScannedSite, ScanOptions, ScanResult, scan
from cachemig.errors import AccessError, ScanError
from cachemig.stores.open import locate, open_site
from cachemig.stores.whereabouts import Whereabouts


@dataclass(frozen=True, slots=True)
class OldSite:
    """What is known of a site that is to be brought, or compared.

    Attributes:
        roots: where the root of each server that answers really is.
        silent: servers that did not answer; of two copies that of another one is taken.
    """

    inventory: Inventory
    roots: Mapping[str, Whereabouts] = field(default_factory=dict)
    silent: frozenset[str] = frozenset()


def scan_site(config: Config, site: Site, options: ScanOptions, tell: Tell) -> ScanResult:
    """Scan a site's servers into its inventory.

    Raises:
        AccessError: a server does not answer.
        ScanError: a cache could not be read whole.
    """
    return scan_and_locate(config, site, options, tell)[0]


def scan_and_locate(
    config: Config, site: Site, options: ScanOptions, tell: Tell
) -> tuple[ScanResult, Mapping[str, Whereabouts]]:
    """Scan a site as `scan_site` does, and say where its roots are."""
    folders = {cache.name: cache.path for cache in config.caches}
    try:
        with open_site(config, site) as stores:
            scanned = ScannedSite(site.name, stores, folders)
            result = scan(scanned, config.state_dir, options, tell)
            roots = {store.server: store.whereabouts for store in stores}
    except AccessError as error:
        error.next_step += _instead(config, site)
        raise
    _tell_doubts(result.inventory, tell)
    return result, roots


def scanned_old_site(config: Config, site: Site, options: ScanOptions, tell: Tell) -> OldSite:
    """Scan a site that is to be brought; raises what `scan_site` does."""
    result, roots = scan_and_locate(config, site, options, tell)
    return OldSite(result.inventory, roots)


def saved_old_site(config: Config, site: Site, tell: Tell) -> OldSite:
    """Go by the last scan of a site that is to be brought, and ask which servers answer.

    Raises:
        FormatError: the site was never scanned, or the inventory is damaged.
    """
    inventory = saved_inventory(config, site, tell)
    roots, silent = locate(config, site)
    for error in silent.values():
        tell(ServerProblem(error.server, error.what, error.cause, "its copies are taken last"))
    return OldSite(inventory, roots, frozenset(silent))


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
    return format_duration(int(inventory.age(datetime.now(UTC)).total_seconds()))


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


def scanned_or_saved(config: Config, site: Site, tell: Tell) -> OldSite:
    """Scan a site; when it does not answer, fall back to what the last scan saw.

    Raises:
        FormatError: it does not answer and was never scanned.
    """
    try:
        return scanned_old_site(config, site, ScanOptions(), tell)
    except AccessError as error:
        tell(Notice(f"{site.name} does not answer ({error.server}: {error.what})"))
        return OldSite(saved_inventory(config, site, tell))
