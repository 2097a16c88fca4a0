"""A destination that stays locked for a run, also when its connection has to be made again."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from cachemig.core.events import ServerProblem, Tell
from cachemig.engine.roots import other_root
from cachemig.errors import CachemigError, LockedError
from cachemig.stores.base import ArchiveVerdict, FileStat
from cachemig.stores.remote import RemoteStore

_ATTEMPTS = 3
_LOCK_INTERVAL_S = 0.5

Answer = TypeVar("Answer")


class HeldStore:
    """Answers questions about one destination; any thread may ask.

    Args:
        store: connected and locked.
        connect: makes and locks the connection anew.
        run_id: of this run, whose own agent may hold the lock until it notices its end.
        patience_s: how long that may take.
    """

    def __init__(
        self,
        store: RemoteStore,
        connect: Callable[[], RemoteStore],
        run_id: str,
        patience_s: float,
        tell: Tell,
    ) -> None:
        self.swept_temps = store.swept_temps
        self.whereabouts = store.whereabouts
        self.opened_at_ns = store.opened_at_ns
        self.found_root_id = store.found_root_id
        self.root_id = store.root_id
        self._server = store.server
        self._store = store
        self._connect = connect
        self._run_id = run_id
        self._patience_s = patience_s
        self._tell = tell
        self._lock = threading.Lock()

    def stat(self, paths: Sequence[str]) -> Sequence[FileStat | None]:
        """Look at planned names; see `Store.stat`."""
        return self._ask(lambda store: store.stat(paths))

    def touch(self, times: Iterable[tuple[str, int]]) -> int:
        """Move modification times forward; see `Store.touch`."""
        kept = list(times)
        return self._ask(lambda store: store.touch(kept))

    def check(self, paths: Sequence[str]) -> Sequence[ArchiveVerdict]:
        """Check archives; see `Store.check`."""
        return self._ask(lambda store: list(store.check(paths)))

    def sweep_temps(self) -> int:
        """Remove the temps of writers that have died; see `Store.sweep_temps`."""
        return self._ask(lambda store: store.sweep_temps())

    def hang_up(self) -> None:
        """Say that nothing more will be asked; the lock goes with it."""
        self._store.hang_up()

    def close(self) -> None:
        """Hang up, and see the agent end."""
        self._store.close()

    def _ask(self, question: Callable[[RemoteStore], Answer]) -> Answer:
        with self._lock:
            for _ in range(_ATTEMPTS - 1):
                try:
                    return question(self._store)
                except CachemigError as error:
                    if not error.retryable:
                        raise
                    self._reconnect(error)
            return question(self._store)

    def _reconnect(self, error: CachemigError) -> None:
        self._tell(ServerProblem(error.server, error.what, error.cause, "connecting again"))
        self._store.close()
        end_s = time.monotonic() + self._patience_s
        while True:
            try:
                self._store = self._connected_again()
            except LockedError as locked:
                if self._run_id not in locked.cause or time.monotonic() > end_s:
                    raise
                time.sleep(_LOCK_INTERVAL_S)
            else:
                return

    def _connected_again(self) -> RemoteStore:
        """Connect; a server that comes back without its file system is not the one we held."""
        store = self._connect()
        other = other_root(self._server, store.root_id, {self._server: self.root_id})
        if other is not None:
            store.close()
            raise other
        return store
