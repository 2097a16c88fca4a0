"""All connections of a run to the new site."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import NamedTuple

from cachemig.config import Config, Site
from cachemig.core.events import Tell
from cachemig.core.pair import Pair
from cachemig.engine.destinations import Destinations
from cachemig.engine.lanes import Lanes
from cachemig.engine.routes import Route
from cachemig.files import settled_path


class Connections(NamedTuple):
    """The servers, locked and ready for questions, and the lanes for the bytes."""

    destinations: Destinations
    lanes: Lanes


@contextmanager
def connected(
    config: Config,
    sites: tuple[Site, Site],
    routes: Mapping[Pair, Route],
    run_id: str,
    tell: Tell,
) -> Iterator[Connections]:
    """Begin to log in to all servers of the new site, the second one; hang up at the end."""
    with (
        closing(Destinations(config, sites[1], run_id, tell)) as destinations,
        closing(Lanes(config, sites, routes, run_id)) as lanes,
    ):
        yield Connections(destinations, lanes)


def log_in_for_a_first_sync(
    config: Config, sites: tuple[Site, Site], per_pair: int, lanes: Lanes
) -> None:
    """Let lanes log in while the old site is scanned, if nothing was ever brought from there."""
    old, new = sites
    if not settled_path(config.state_dir, old.name, new.name).exists():
        lanes.log_in_early(per_pair)
