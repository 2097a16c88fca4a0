"""From a server in cachemig.toml to a store that answers."""

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Protocol, TypeVar

from cachemig.agent.bootstrap import BOOTSTRAP, PYTHON_FLAGS
from cachemig.config import Config, Server, Site, SshSettings
from cachemig.core.urls import ServerUrl
from cachemig.errors import CachemigError, UsageError
from cachemig.stores.diagnosis import diagnose
from cachemig.stores.pipes import agent_argv
from cachemig.stores.remote import Holder, RemoteStore, Rooted
from cachemig.stores.whereabouts import Whereabouts

MAX_HANDSHAKES = 8
CONNECT_LIMIT_S = 20.0
_CONNECT_ATTEMPTS = 6
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 2.0

Opened = TypeVar("Opened")


class _Closable(Protocol):
    """A connection."""

    def hang_up(self) -> None:
        """Let it end, and wait for nothing."""

    def close(self) -> None:
        """Hang up, and see it end."""


Closes = TypeVar("Closes", bound=_Closable)

_handshakes: defaultdict[str, threading.Semaphore] = defaultdict(
    lambda: threading.Semaphore(MAX_HANDSHAKES)
)


def open_store(
    config: Config, site: Site, server: Server, holder: Holder | None = None
) -> RemoteStore:
    """Connect to a server's root; with a holder, lock it and sweep what dead runs left there.

    Raises:
        LockedError: another run holds it.
        CachemigError: it can not be reached, does not prove who it is, or has no such root.
    """
    place = rooted(config, site, server)
    limit_s = config.ssh.silence_limit_s
    explain = partial(diagnose, known_hosts_file=config.ssh.known_hosts_file)
    return connecting(server.url, lambda: RemoteStore(place, explain, limit_s, holder))


@contextmanager
def open_answering(
    config: Config, site: Site
) -> Iterator[tuple[list[RemoteStore], dict[str, CachemigError]]]:
    """Connect to all servers of a site at once, and say why some do not answer.

    Hangs up at the end.
    """
    with ThreadPoolExecutor(max(len(site.servers), 1), thread_name_prefix="connect") as pool:
        coming = {s.name: pool.submit(open_store, config, site, s) for s in site.servers}
    opened = [future.result() for future in coming.values() if future.exception() is None]
    silent: dict[str, CachemigError] = {}
    try:
        for name, future in coming.items():
            try:
                future.result()
            except CachemigError as error:
                silent[name] = error
        yield opened, silent
    finally:
        for store in opened:
            store.close()


@contextmanager
def open_site(config: Config, site: Site) -> Iterator[list[RemoteStore]]:
    """Connect to all servers of a site at once; hang up at the end.

    Raises:
        CachemigError: one of them can not be reached.
    """
    with open_answering(config, site) as (stores, silent):
        for error in silent.values():
            raise error
        yield stores


def locate(config: Config, site: Site) -> tuple[dict[str, Whereabouts], dict[str, CachemigError]]:
    """Ask all servers of a site where their roots are; say also why some do not answer."""
    with open_answering(config, site) as (stores, silent):
        return {store.server: store.whereabouts for store in stores}, silent


def connecting(
    url: ServerUrl, connect: Callable[[], Opened], limit_s: float = CONNECT_LIMIT_S
) -> Opened:
    """Run a handshake: few at once per host, and again when the server was only busy.

    sshd drops logins beyond its MaxStartups (10 by default) at random, so a lost
    connection is tried again after a growing wait; every other refusal is final.
    """
    began_s = time.monotonic()
    for attempt in range(_CONNECT_ATTEMPTS):
        try:
            with _handshakes[url.place]:
                return connect()
        except CachemigError as error:
            last = attempt == _CONNECT_ATTEMPTS - 1
            if not error.retryable or last or time.monotonic() - began_s > limit_s:
                raise
        wait_s = min(_FIRST_WAIT_S * 2**attempt, _LONGEST_WAIT_S)
        time.sleep(wait_s * random.uniform(0.5, 1.5))  # noqa: S311  jitter
    raise AssertionError


def hang_up_when_opened(coming: "Future[Closes]") -> None:
    """Hang up what is open, or will be once its login is through; to be called back.

    First for all of several: so they end at once, before one after the other is waited for.
    """
    if not coming.cancelled() and coming.exception() is None:
        coming.result().hang_up()


def close_when_opened(coming: "Future[Closes]") -> None:
    """Close what is open, or will be once its login is through; to be called back."""
    if not coming.cancelled() and coming.exception() is None:
        coming.result().close()


def rooted(config: Config, site: Site, server: Server) -> Rooted:
    """How to reach a server's root from this machine.

    Raises:
        UsageError: it is a bucket.
    """
    if server.url.scheme == "s3":
        raise UsageError(
            "a bucket can not be a server yet",
            server=server.name,
            cause=str(server.url),
            next_step="name a path or an ssh:// url",
        )
    follow = [s.url.path for s in site.servers if same_host(s.url, server.url)]
    argv = tuple(agent_argv(server.url, config.ssh))
    return Rooted(server.name, argv, server.url.path, site.group, tuple(follow))


def same_host(one: ServerUrl, other: ServerUrl) -> bool:
    """Whether two roots lie on the same machine, reached by the same account."""
    return (one.scheme, one.user, one.host, one.port) == (
        other.scheme,
        other.user,
        other.host,
        other.port,
    )


def here_argv() -> tuple[str, ...]:
    """A local agent."""
    return tuple(agent_argv(ServerUrl("path", "/"), SshSettings()))


def there_argv() -> tuple[str, ...]:
    """An agent on the machine where the mover runs."""
    return ("python3", *PYTHON_FLAGS, "-c", BOOTSTRAP)


def far_argv(url: ServerUrl, ssh: SshSettings) -> tuple[str, ...]:
    """An agent on another server, as a mover on the old server dials it.

    That machine's own ssh, keys and known hosts are used: ours are not there.
    """
    argv = agent_argv(url, SshSettings(client="openssh"))
    if ssh.direct_config_file is not None:
        argv[1:1] = ["-F", str(ssh.direct_config_file)]
    return tuple(argv)
