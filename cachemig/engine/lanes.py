"""The lanes of a run: opened when a pair needs one, or ahead of what they will carry."""

import itertools
from collections import defaultdict, deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from cachemig.config import Config, Site
from cachemig.core.pair import Pair
from cachemig.engine.roots import other_root
from cachemig.engine.routes import Route
from cachemig.stores.diagnosis import diagnose
from cachemig.stores.lane import Lane, LanePlan
from cachemig.stores.open import (
    CONNECT_LIMIT_S,
    MAX_HANDSHAKES,
    close_when_opened,
    connecting,
    hang_up_when_opened,
)


class Lanes:
    """Opens lanes; any thread may ask. To be closed at the end of the run.

    Args:
        sites: where the bytes come from, and where they go.
        routes: the way between every two servers of the sites.
    """

    def __init__(
        self,
        config: Config,
        sites: tuple[Site, Site],
        routes: Mapping[Pair, Route],
        run_id: str,
    ) -> None:
        self._silence_limit_s = config.ssh.silence_limit_s
        self._old, self._new = sites
        self._routes = routes
        self._run_id = run_id
        self._numbers = itertools.count()
        self._root_ids: Mapping[str, str] = {}
        self._early: defaultdict[Pair, deque[Future[Lane]]] = defaultdict(deque)

    def log_in_early(self, per_pair: int) -> None:
        """Open some between every two servers, while it is found out what they shall carry.

        No more than get through the gate of a server's sshd at once, together with the
        connection that locks it.
        """
        gate = (MAX_HANDSHAKES - 1) // max(len(self._old.servers), len(self._new.servers))
        pairs = [*self._routes] * min(per_pair, gate)
        if pairs:
            pool = ThreadPoolExecutor(len(pairs), thread_name_prefix="lane")
            for pair in pairs:
                self._early[pair].append(pool.submit(self._opened, pair))
            pool.shutdown(wait=False)

    def open(self, pair: Pair, patience_s: float = CONNECT_LIMIT_S) -> Lane:
        """Hand out a lane between two servers: one that logged in early, or a new one.

        Args:
            pair: the servers.
            patience_s: how long a server that is only busy may be asked again.

        Raises:
            CachemigError: an end can not be reached, or has another root than was expected.
        """
        try:
            early = self._early[pair].popleft()
        except IndexError:
            return self._known(pair, self._opened(pair, min(patience_s, CONNECT_LIMIT_S)))
        lane = early.result()
        return self._known(pair, lane) if lane.root_id else lane

    def expect(self, root_ids: Mapping[str, str]) -> None:
        """Say what the roots of servers are known by since they are locked.

        A lane that is opened later, and finds another one, is refused: a server may come back
        without its file system.
        """
        self._root_ids = root_ids

    def close(self) -> None:
        """End the lanes that nobody took, also those that are still logging in."""
        idle = [coming for lanes in self._early.values() for coming in lanes]
        for coming in idle:
            coming.add_done_callback(hang_up_when_opened)
        for coming in idle:
            coming.add_done_callback(close_when_opened)

    def _known(self, pair: Pair, lane: Lane) -> Lane:
        other = other_root(pair.server, lane.root_id, self._root_ids)
        if other is not None:
            lane.close()
            raise other
        return lane

    def _opened(self, pair: Pair, limit_s: float = CONNECT_LIMIT_S) -> Lane:
        route = self._routes[pair]
        plan = LanePlan(
            mover_argv=route.mover_argv,
            mover_host=route.mover_host,
            source=route.source,
            source_is_local=route.source_is_local,
            destination=route.destination,
            run_id=self._run_id,
            source_site=self._old.name,
            silence_limit_s=self._silence_limit_s,
        )
        writer = f"{self._run_id}-{next(self._numbers):x}"
        place = self._new.server(pair.server).url
        return connecting(place, lambda: Lane(plan, writer, diagnose), limit_s)
