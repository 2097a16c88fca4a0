"""The servers that a run writes to: connected in the background, locked until its end."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from cachemig.config import Config, Server, Site
from cachemig.core.events import Tell
from cachemig.engine.held import HeldStore
from cachemig.errors import (
    AccessError,
    CachemigError,
    GroupError,
    LockedError,
    NoSpaceError,
    UsageError,
    most_severe,
)
from cachemig.stores.open import close_when_opened, hang_up_when_opened, open_store
from cachemig.stores.remote import Holder, RemoteStore, who_runs_this

_SLACK_S = 5.0


class Reached(NamedTuple):
    """The servers that answer and are locked, and what is the matter with the others."""

    stores: Mapping[str, HeldStore]
    errors: Mapping[str, CachemigError]


class Destinations:
    """Connects and locks; to be closed. Logins take a second, so they begin before they are needed.

    The site's first server that answers is locked before the others, so that of two runs that
    start in the same moment one gets them all.
    """

    def __init__(self, config: Config, site: Site, run_id: str, tell: Tell) -> None:
        self._config = config
        self._site = site
        self._tell = tell
        self._holder = Holder(run_id, who_runs_this())
        self._pool = ThreadPoolExecutor(len(site.servers), thread_name_prefix="connect")
        self._coming: dict[str, Future[HeldStore]] = {}
        for server in site.servers:
            before = list(self._coming.values())
            self._coming[server.name] = self._pool.submit(self._held_after, before, server)

    def stores(self, servers: Iterable[str]) -> Reached:
        """Wait for some of them. One that can not be reached does not keep the others waiting.

        Raises:
            LockedError: another run writes to this site.
            IdentityError: one of them does not prove who it is.
            GroupError: files can not be given the site's group.
            CachemigError: none of them can be reached.
        """
        stores: dict[str, HeldStore] = {}
        errors: dict[str, CachemigError] = {}
        for server in servers:
            try:
                stores[server] = self._coming[server].result()
            except CachemigError as error:
                errors[server] = error
        fatal = [error for error in errors.values() if not of_one_server(error)]
        if fatal or (errors and not stores):
            raise most_severe(fatal or errors.values())
        return Reached(stores, errors)

    def hang_up(self) -> None:
        """Let go of all servers at once, and wait for none; the locks go with it."""
        for future in self._coming.values():
            future.add_done_callback(hang_up_when_opened)

    def close(self) -> None:
        """Hang up, also where the login is still going on, and see all agents end."""
        self.hang_up()
        for future in self._coming.values():
            future.add_done_callback(close_when_opened)
        self._pool.shutdown(wait=False)

    def _locked(self, server: Server) -> RemoteStore:
        return open_store(self._config, self._site, server, self._holder)

    def _held(self, store: RemoteStore, server: Server) -> HeldStore:
        patience_s = 2 * self._config.ssh.silence_limit_s + _SLACK_S
        run_id = self._holder.run_id
        return HeldStore(store, lambda: self._locked(server), run_id, patience_s, self._tell)

    def _held_after(self, before: "Sequence[Future[HeldStore]]", server: Server) -> HeldStore:
        """Log in at once, and lock when an earlier server is ours, or none can be reached."""
        if not before:
            return self._held(self._locked(server), server)
        store = open_store(self._config, self._site, server)
        try:
            _await_the_first(before)
            store.hold(self._holder)
        except CachemigError as error:
            store.close()
            if isinstance(error, LockedError) and self._holder.run_id in error.cause:
                raise _same_folder(server) from None
            raise
        return self._held(store, server)


def of_one_server(error: CachemigError) -> bool:
    """Whether an error is the trouble of one server, so that the others may go on without it."""
    return isinstance(error, (AccessError, NoSpaceError)) and not isinstance(error, GroupError)


def _same_folder(server: Server) -> UsageError:
    return UsageError(
        "two servers of the new site lead to the same folder",
        server=server.name,
        cause="this run holds its lock already, by way of another server",
        next_step="correct the url of one of them in cachemig.toml; two names of one host, or a"
        " mount, may be behind it",
    )


def _await_the_first(before: "Sequence[Future[HeldStore]]") -> None:
    """Wait until one of them is locked, or all are out of reach.

    Raises:
        CachemigError: one of them must not be passed over.
    """
    for coming in before:
        refused = coming.exception()
        if refused is None:
            return
        if not (isinstance(refused, CachemigError) and of_one_server(refused)):
            raise refused
