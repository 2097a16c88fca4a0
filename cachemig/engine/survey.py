"""Connect to a site and scan it: how commands come by an inventory."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from cachemig.catalog.database import scratch
from cachemig.catalog.inventory import Inventory, inventory_path, open_inventory
from cachemig.catalog.rooting import Rooting, rootings
from cachemig.config import Config, Site
from cachemig.core.events import Notice, ServerProblem, Tell
from cachemig.core.units import format_duration
from cachemig.engine.scan import ScannedSite, ScanOptions, ScanResult, scan
from cachemig.errors import AccessError, CachemigError, IdentityError, ScanError, most_severe
from cachemig.stores.open import locate, open_answering, open_site
from cachemig.stores.whereabouts import Whereabouts

OUT_OF_REACH = (AccessError, IdentityError)
"""The trouble of one server, that keeps no other from being looked at."""


@dataclass(frozen=True, slots=True)
class OldSite:
    """What is known of a site that is to be brought, or compared.

    Attributes:
        rootings: how its objects lie; empty if it holds none.
        roots: where the root of each server that answers really is.
        silent: servers that did not answer; of two copies that of another one is taken.
    """

    inventory: Inventory
    rootings: Sequence[Rooting]
    roots: Mapping[str, Whereabouts] = field(default_factory=dict)
    silent: frozenset[str] = frozenset()


class AnsweringSite(NamedTuple):
    """What the servers of a site hold that answer, and what is the matter with the others."""

    inventory: Inventory
    silent: Mapping[str, CachemigError]


class Survey(NamedTuple):
    """A scan, where the roots of the site's servers really are, and how the objects lie there."""

    result: ScanResult
    roots: Mapping[str, Whereabouts]
    rootings: Sequence[Rooting]


def scan_site(config: Config, site: Site, options: ScanOptions, tell: Tell) -> ScanResult:
    """Scan a site's servers into its inventory, for whatever comes next.

    Raises:
        AccessError: a server does not answer.
        ScanError: a cache could not be read whole.
    """
    try:
        return scan_and_locate(config, site, options, tell).result
    except AccessError as error:
        error.next_step += _way_on(config, site)
        raise


@contextmanager
def scanned_answering(config: Config, site: Site, tell: Tell) -> Iterator[AnsweringSite]:
    """Scan a site; if servers are silent the others alone, for an inventory that nobody keeps.

    The saved inventory of the site is replaced only by one of all its servers.

    Raises:
        AccessError: no server answers.
        ScanError: a cache could not be read whole.
    """
    with scratch(config.state_dir) as aside:
        answering = _scan_answering(config, site, aside, tell)
        _tell_doubts(answering.inventory, rootings(answering.inventory), tell)
        yield answering


def _scan_answering(config: Config, site: Site, aside: Path, tell: Tell) -> AnsweringSite:
    silent: dict[str, CachemigError] = {}
    folders = {cache.name: cache.path for cache in config.caches}
    while True:
        left = replace(site, servers=tuple(s for s in site.servers if s.name not in silent))
        with open_answering(config, left) as (stores, refused):
            silent |= refused
            fatal = [error for error in refused.values() if not isinstance(error, OUT_OF_REACH)]
            if fatal or not stores:
                raise most_severe(fatal or silent.values())
            place = aside if silent else config.state_dir
            try:
                # Nothing to compare with lies aside: no place can be found to be empty suddenly.
                options = ScanOptions(allow_empty=bool(silent))
                result = scan(ScannedSite(site.name, stores, folders), place, options, tell)
                return AnsweringSite(result.inventory, silent)
            except OUT_OF_REACH as error:
                if error.server not in {store.server for store in stores}:
                    raise
                silent[error.server] = error


def scan_and_locate(config: Config, site: Site, options: ScanOptions, tell: Tell) -> Survey:
    """Scan a site's servers into its inventory, and say where their roots are.

    Raises:
        AccessError: a server does not answer.
        ScanError: a cache could not be read whole.
    """
    folders = {cache.name: cache.path for cache in config.caches}
    try:
        with open_site(config, site) as stores:
            scanned = ScannedSite(site.name, stores, folders)
            result = scan(scanned, config.state_dir, options, tell)
            roots = {store.server: store.whereabouts for store in stores}
    except AccessError as error:
        error.next_step += _kept(config, site)
        raise
    found = rootings(result.inventory)
    _tell_doubts(result.inventory, found, tell)
    return Survey(result, roots, found)


def scanned_old_site(config: Config, site: Site, options: ScanOptions, tell: Tell) -> OldSite:
    """Scan a site that is to be brought; raises what `scan_site` does."""
    try:
        result, roots, found = scan_and_locate(config, site, options, tell)
    except AccessError as error:
        error.next_step += _way_on(config, site)
        raise
    return OldSite(result.inventory, found, roots)


def saved_old_site(config: Config, site: Site, tell: Tell) -> OldSite:
    """Go by the last scan of a site that is to be brought, and ask which servers answer.

    Raises:
        FormatError: the site was never scanned, or the inventory is damaged.
    """
    known = remembered_site(config, site, tell)
    roots, silent = locate(config, site)
    for error in silent.values():
        tell(ServerProblem(error.server, error.what, error.cause, "its copies are taken last"))
    return replace(known, roots=roots, silent=frozenset(silent))


def remembered_site(config: Config, site: Site, tell: Tell) -> OldSite:
    """Go by the last scan of a site alone; raises what `saved_old_site` does."""
    inventory = saved_inventory(config, site, tell)
    return OldSite(inventory, rootings(inventory))


def _kept(config: Config, site: Site) -> str:
    """Why a scan did not come to its end, and what became of the last one."""
    path = inventory_path(config.state_dir, site.name)
    rule = f"; a scan reads all servers of {site.name} or counts none"
    if not path.exists():
        return rule
    return f"{rule}, so its inventory of {_age(open_inventory(path))} ago was kept"


def _way_on(config: Config, site: Site) -> str:
    """How a site is brought of which a server is dead; empty when there is no such way."""
    if len(site.servers) == 1 or not inventory_path(config.state_dir, site.name).exists():
        return ""
    return (
        f": with --saved, a sync from {site.name} goes by that and brings what the other"
        " servers hold"
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


def refuse_empty(known: OldSite) -> None:
    """Take no site without any object for one that has nothing to bring, or to prove.

    Raises:
        ScanError: there is no object, signature or link at all.
    """
    if not known.rootings:
        site, servers = known.inventory.metadata.site, known.inventory.metadata.servers
        raise ScanError(
            f"site {site} holds no object at all, so there is nothing to bring or to compare",
            server=", ".join(servers),
            cause="an export may not be mounted, or a url or a cache's path may be wrong",
            next_step=f"look at the servers, mend that, then `cachemig scan {site}`",
        )


def _tell_doubts(inventory: Inventory, found: Sequence[Rooting], tell: Tell) -> None:
    """Say which roots look as if they were wrong; only a person can know."""
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
        return remembered_site(config, site, tell)
