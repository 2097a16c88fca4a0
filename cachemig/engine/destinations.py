"""The servers that a run writes to: connected in the background, locked until its end."""

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from cachemig.config import Config, Site
from cachemig.stores.open import open_store
from cachemig.stores.remote import Holder, RemoteStore, who_runs_this


class Destinations:
    """A context manager. Logins take a second each, so they begin before they are needed."""

    def __init__(self, config: Config, site: Site, run_id: str) -> None:
        holder = Holder(run_id, who_runs_this())
        self._pool = ThreadPoolExecutor(len(site.servers), thread_name_prefix="connect")
        self._coming: dict[str, Future[RemoteStore]] = {
            server.name: self._pool.submit(open_store, config, site, server, holder)
            for server in site.servers
        }

    def stores(self, servers: Iterable[str]) -> dict[str, RemoteStore]:
        """Wait for some of them.

        Raises:
            LockedError: another run writes to one of them.
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


def _close(future: "Future[RemoteStore]") -> None:
    if not future.cancelled() and future.exception() is None:
        future.result().close()
