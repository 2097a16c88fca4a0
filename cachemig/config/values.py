"""What cachemig.toml says, as frozen values."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeVar

from cachemig.core.urls import ServerUrl
from cachemig.errors import ConfigError

Placement = Literal["slots", "whole"]
SshClient = Literal["auto", "openssh", "paramiko"]

T = TypeVar("T")

DEFAULT_CACHE = "default"
DEFAULT_CONNECTIONS = 5
DEFAULT_SILENCE_LIMIT_S = 30


@dataclass(frozen=True, slots=True)
class Server:
    """One server of a site: an export, a mount or a bucket.

    Attributes:
        weight: its share of the slots, relative to the other servers of the site; its
            capacity in bytes when cachemig.toml gives that.
    """

    name: str
    url: ServerUrl
    weight: float = 1.0
    capacity_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """The servers of one data center that hold its caches together.

    Attributes:
        group: the group that published files belong to; None for the root's own.
        retention_s: how long the site's cleaner keeps an object that nobody used.
    """

    name: str
    servers: tuple[Server, ...]
    group: str | None = None
    retention_s: int | None = None

    def server(self, name: str) -> Server:
        """Look up a server of this site.

        Raises:
            ConfigError: there is none of this name.
        """
        return _named(name, {server.name: server for server in self.servers}, "server")


@dataclass(frozen=True, slots=True)
class Cache:
    """One sstate tree; `path` is its folder below each server's root, empty for the root."""

    name: str = DEFAULT_CACHE
    path: str = ""
    placement: Placement = "slots"


@dataclass(frozen=True, slots=True)
class SshSettings:
    """How servers are reached by SSH; None leaves it to the SSH client.

    Attributes:
        direct_config_file: an ssh_config(5) on the old servers, for the connections that
            they make to the new ones; a path on those machines.
        silence_limit_s: a connection on which nothing was heard for so long is lost.
    """

    client: SshClient = "auto"
    identity_file: Path | None = None
    known_hosts_file: Path | None = None
    direct_config_file: Path | None = None
    silence_limit_s: int = DEFAULT_SILENCE_LIMIT_S


@dataclass(frozen=True, slots=True)
class SyncSettings:
    """How a sync begins.

    Attributes:
        connections: per pair of servers, to start with.
        bwlimit_bytes_per_s: cap over all connections together; None for no cap.
    """

    connections: int = DEFAULT_CONNECTIONS
    bwlimit_bytes_per_s: int | None = None


@dataclass(frozen=True, slots=True)
class Customer:
    """Whose builds use which caches.

    Attributes:
        max_extra_build_time_s: what a move may cost the first build; None for no limit.
    """

    name: str
    caches: tuple[str, ...]
    weight: float = 1.0
    max_extra_build_time_s: int | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """All of cachemig.toml; `state_dir` is absolute or relative to the working directory."""

    path: Path
    state_dir: Path
    sites: Mapping[str, Site]
    caches: tuple[Cache, ...] = (Cache(),)
    ssh: SshSettings = field(default_factory=SshSettings)
    sync: SyncSettings = field(default_factory=SyncSettings)
    customers: Mapping[str, Customer] = field(default_factory=dict)

    def site(self, name: str) -> Site:
        """Look up a site.

        Raises:
            ConfigError: there is none of this name.
        """
        return _named(name, self.sites, "site")

    def pair_of_sites(self, old: str, new: str) -> tuple[Site, Site]:
        """Look up two sites that must not be the same.

        Raises:
            ConfigError: one of them does not exist, or both are one.
        """
        if old == new:
            raise ConfigError(
                f'"{old}" is given as the old and as the new site',
                path=str(self.path),
                next_step="name two different sites",
            )
        return self.site(old), self.site(new)

    def with_ssh_client(self, client: SshClient | None) -> "Config":
        """Use another SSH client than the file says; None changes nothing."""
        return self if client is None else replace(self, ssh=replace(self.ssh, client=client))

    def cache(self, name: str) -> Cache:
        """Look up a cache.

        Raises:
            ConfigError: there is none of this name.
        """
        return _named(name, {cache.name: cache for cache in self.caches}, "cache")


def nearest(word: str, known: Iterable[str]) -> str:
    """Suggest the known word that is most like a wrong one, as the end of a sentence."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f'; did you mean "{close[0]}"?' if close else ""


def _named(name: str, known: Mapping[str, T], kind: str) -> T:
    try:
        return known[name]
    except KeyError:
        raise ConfigError(
            f'there is no {kind} "{name}"{nearest(name, known)}',
            next_step=f"known are: {', '.join(sorted(known))}",
        ) from None
