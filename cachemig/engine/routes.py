"""Which way the bytes take between two servers: part of the plan, never a surprise."""

from dataclasses import dataclass
from typing import Literal

from cachemig.config import Config, Server, Site
from cachemig.core.pair import Pair
from cachemig.core.urls import ServerUrl
from cachemig.errors import UsageError
from cachemig.stores.open import far_argv, here_argv, rooted, same_host, there_argv
from cachemig.stores.remote import Rooted

Way = Literal["here", "through this machine", "direct", "on the server", "run on"]


@dataclass(frozen=True, slots=True)
class Detour:
    """What the operator said about the way.

    Attributes:
        via_here: from server to server through this machine.
        run_on: ssh URL of a host that reaches both servers; None for none.
    """

    via_here: bool = False
    run_on: ServerUrl | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """The way between one pair of servers; prints as the plan shows it.

    Attributes:
        way: what kind of way it is.
        mover_host: where the mover runs, for messages.
        mover_argv: the child process that leads to the mover.
        source: the source end as the mover sees it.
        source_is_local: the mover opens it itself.
        destination: the destination end as the mover dials it.
    """

    way: Way
    mover_host: str
    mover_argv: tuple[str, ...]
    source: Rooted
    source_is_local: bool
    destination: Rooted

    def __str__(self) -> str:
        """Say which machines the bytes pass."""
        match self.way:
            case "here":
                return "on this machine"
            case "direct":
                return f"directly, the mover runs on {self.mover_host}"
            case "on the server":
                return f"within {self.mover_host}"
            case "run on":
                return f"through {self.mover_host}, as --run-on says"
            case "through this machine":
                return self.way


def route(
    config: Config, old: tuple[Site, Server], new: tuple[Site, Server], detour: Detour
) -> Route:
    """Choose the way from a server of the old site to one of the new site.

    Raises:
        UsageError: --run-on was asked for a server that only this machine reaches.
    """
    (_, source), (_, target) = old, new
    from_here = rooted(config, *old)
    if detour.run_on is not None:
        return _run_on(config, old, new, detour.run_on)
    if source.url.scheme == "path":
        way: Way = "here"
        return Route(way, "", here_argv(), from_here, True, rooted(config, *new))
    if target.url.scheme == "path" or detour.via_here:
        through: Way = "through this machine"
        return Route(through, "", here_argv(), from_here, False, rooted(config, *new))
    near = same_host(source.url, target.url)
    argv = there_argv() if near else far_argv(target.url, config.ssh)
    return Route(
        "on the server" if near else "direct",
        source.name,
        from_here.argv,
        from_here,
        True,
        rooted(config, *new)._replace(argv=argv),
    )


def all_routes(config: Config, old: Site, new: Site, detour: Detour) -> dict[Pair, Route]:
    """Choose the way between any two servers of two sites.

    Raises:
        UsageError: there is none between some two.
    """
    return {
        Pair(source.name, target.name): route(config, (old, source), (new, target), detour)
        for source in old.servers
        for target in new.servers
    }


def _run_on(
    config: Config, old: tuple[Site, Server], new: tuple[Site, Server], host: ServerUrl
) -> Route:
    ends = []
    for site, server in (old, new):
        if server.url.scheme == "path":
            raise UsageError(
                "--run-on needs servers that the host can reach by ssh",
                server=server.name,
                cause=f"{server.url} is a folder of this machine",
                next_step="leave --run-on out, or give the server an ssh:// url",
            )
        argv = there_argv() if same_host(server.url, host) else far_argv(server.url, config.ssh)
        ends.append(rooted(config, site, server)._replace(argv=argv))
    mover_argv = rooted(config, old[0], Server(host.host, host)).argv
    local = same_host(old[1].url, host)
    return Route("run on", host.host, mover_argv, ends[0], local, ends[1])
