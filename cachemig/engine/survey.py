"""Connect to a site and scan it: how commands come by an inventory."""

from datetime import UTC, datetime

from cachemig.catalog.inventory import Inventory, inventory_path, open_inventory
from cachemig.config import Config, Site
from cachemig.core.events import Notice, Tell
from cachemig.core.units import print_duration
from cachemig.engine.scan import ScannedSite, ScanOptions, ScanResult, scan
from cachemig.errors import AccessError
from cachemig.stores.open import open_site


def scan_site(config: Config, site: Site, options: ScanOptions, tell: Tell) -> ScanResult:
    """Scan a site's servers into its inventory.

    Raises:
        AccessError: a server does not answer.
        ScanError: a cache could not be read whole.
    """
    folders = {cache.name: cache.path for cache in config.caches}
    with open_site(config, site) as stores:
        return scan(ScannedSite(site.name, stores, folders), config.state_dir, options, tell)


def saved_inventory(config: Config, site: Site, tell: Tell) -> Inventory:
    """Open what the last scan of a site saw, and tell how old that is.

    Raises:
        FormatError: the site was never scanned, or the inventory is damaged.
    """
    inventory = open_inventory(inventory_path(config.state_dir, site.name))
    age = print_duration(int(inventory.age(datetime.now(UTC)).total_seconds()))
    tell(Notice(f"{site.name}: going by its inventory of {age} ago"))
    return inventory


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
