"""Is at the new site what the old one holds, where builds will look for it?"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from cachemig.catalog.candidates import Destination
from cachemig.catalog.presence import Presence, PresenceTotal, State, presence
from cachemig.config import Config, Site
from cachemig.core.events import Tell
from cachemig.engine.coverage import refuse_gaps
from cachemig.engine.scan import ScanOptions
from cachemig.engine.survey import (
    refuse_empty,
    remembered_site,
    scan_and_locate,
    scanned_or_saved,
)
from cachemig.errors import ExitCode, GateClosedError, worst
from cachemig.files import effective_maps
from cachemig.stores.whereabouts import refuse_overlap

_CODES = {
    State.MISSING: ExitCode.NO_GO,
    State.WRONG_SERVER: ExitCode.NO_GO,
    State.INCOMPLETE: ExitCode.NO_GO,
    State.DAMAGED: ExitCode.INTEGRITY,
}


@contextmanager
def compared_sites(
    config: Config, old: Site, new: Site, tell: Tell, *, saved: bool
) -> Iterator[Presence]:
    """Compare two sites by name, size and the new site's shard maps.

    Of the new site every directory is read: this is a proof. The old one is scanned as well,
    unless it does not answer or only its saved inventory is wanted; the age of that is told.

    Raises:
        ShardMapError: the new site has several servers and no shard map.
        FormatError: the old site does not answer and was never scanned, or cachemig.toml was
            changed since then.
        UsageError: a server of each has the same directory.
        AccessError: the new site does not answer.
        ScanError: a cache could not be read whole, or the old site holds nothing at all.
    """
    maps = effective_maps(new, config.caches, config.state_dir)
    before = remembered_site(config, old, tell) if saved else scanned_or_saved(config, old, tell)
    refuse_gaps(config, before.inventory)
    refuse_empty(before)
    after = scan_and_locate(config, new, ScanOptions(full=True), tell)
    refuse_overlap(before.roots, after.roots)
    with presence(before.inventory, Destination(new.name, maps), after.result.inventory) as answer:
        yield answer


def refuse_uncompared(config: Config, totals: Iterable[PresenceTotal]) -> None:
    """Let no gate open for a cache of which nothing was compared.

    Raises:
        GateClosedError: the old site holds nothing of a cache that would be brought.
    """
    compared = {total.cache for total in totals}
    idle = [cache.name for cache in config.caches if cache.name not in compared]
    if idle:
        raise GateClosedError(
            f"there was nothing to compare of cache {', '.join(idle)}",
            cause="the old site holds nothing of it that would be brought",
            next_step=f"look at the old site; if that is right, take {', '.join(idle)} out of the"
            " cachemig.toml by which this move is checked",
        )


def presence_code(totals: Iterable[PresenceTotal]) -> ExitCode:
    """Tell what a comparison is worth: anything absent closes the gate."""
    return worst(_CODES.get(total.state, ExitCode.OK) for total in totals)
