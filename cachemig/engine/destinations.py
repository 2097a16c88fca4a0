"""The servers that a run writes to: connected in the background, locked until its end."""

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from cachemig.config import Config, Server, Site
from cachemig.core.events import Tell
from cachemig.engine.held import HeldStore
from cachemig.errors import CachemigError, LockedError
from cachemig.stores.open import open_store
from cachemig.stores.remote import Holder, RemoteStore, who_runs_this

_SLACK_S = 5.0


class Destinations:
    """A context manager. Logins take a second each, so they begin before they are needed.

    The site's first server is locked before the others, so that of two runs that start in
    the same moment one gets them all.
    """

    def __init__(self, config: Config, site: Site, run_id: str, tell: Tell) -> None:
        self._config = config
        self._site = site
        self._tell = tell
        self._holder = Holder(run_id, who_runs_this())
        self._pool = ThreadPoolExecutor(len(site.servers), thread_name_prefix="connect")
        first, *others = site.servers
        gate = self._pool.submit(lambda: self._held(self._locked(first), first))
        self._coming = {first.name: gate} | {
            server.name: self._pool.submit(self._held_after, gate, server) for server in others
        }

    def stores(self, servers: Iterable[str]) -> dict[str, HeldStore]:
        """Wait for some of them.

        Raises:
            LockedError: another run writes to this site.
            CachemigError: one of them can not be reached.
        """
        return {server: self._coming[server].result() for server in servers}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        for future in self._coming.values():
            future.add_done_callback(_close)
        self._pool.shutdown(wait=False)

    def _locked(self, server: Server) -> RemoteStore:
        return open_store(self._config, self._site, server, self._holder)

    def _held(self, store: RemoteStore, server: Server) -> HeldStore:
        patience_s = 2 * self._config.ssh.silence_limit_s + _SLACK_S
        run_id = self._holder.run_id
        return HeldStore(store, lambda: self._locked(server), run_id, patience_s, self._tell)

    def _held_after(self, gate: "Future[HeldStore]", server: Server) -> HeldStore:
        """Log in at once, and lock when the first server is ours, or can not be reached."""
        store = open_store(self._config, self._site, server)
        try:
            refused = gate.exception()
            if isinstance(refused, LockedError):
                raise refused
            store.hold(self._holder)
        except CachemigError:
            store.close()
            raise
        return self._held(store, server)


def _close(future: "Future[HeldStore]") -> None:
    if not future.cancelled() and future.exception() is None:
        future.result().close()
