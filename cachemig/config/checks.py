"""Faults of cachemig.toml that no table shows alone: contradictions, and a key that is absent."""

import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from cachemig.config.lines import KeyPath
from cachemig.config.schema import CacheTable, FileTable, SiteTable, SshTable, below
from cachemig.config.values import nearest
from cachemig.core.quoting import printable


class Fault(NamedTuple):
    """What is wrong, and at which key."""

    key: KeyPath
    text: str


def faults(file: FileTable, folder: Path) -> Iterator[Fault]:
    """Tell every contradiction, each at the later of the two places; `folder` is the file's."""
    if not file.site:
        yield Fault((), "there is no site; a site is a [site.NAME] with [[site.NAME.server]]")
    for name, site in file.site.items():
        yield from _site_faults(name, site)
    yield from _overlapping_roots(file.site)
    yield from _overlapping_caches(file.cache)
    yield from _identity_faults(file.ssh, folder)
    for name, customer in file.customer.items():
        for cache in customer.caches:
            if cache not in file.cache:
                text = f'there is no cache "{cache}"{nearest(cache, file.cache)}'
                yield Fault(("customer", name, "caches"), text)


def _site_faults(name: str, site: SiteTable) -> Iterator[Fault]:
    if not site.server:
        yield Fault(("site", name), f'site "{name}" has no server; add [[site.{name}.server]]')
    seen: set[str] = set()
    by_capacity = any(server.capacity is not None for server in site.server)
    for number, server in enumerate(site.server):
        key = ("site", name, "server", number)
        if server.name in seen:
            yield Fault((*key, "name"), f'site "{name}" has two servers named "{server.name}"')
        seen.add(server.name)
        if server.weight is not None and server.capacity is not None:
            yield Fault((*key, "capacity"), f'"{server.name}" has both a weight and a capacity')
        elif by_capacity and server.capacity is None:
            text = f'"{server.name}" has no capacity, but another server of site "{name}" has'
            yield Fault(key, f"{text}; give all of them a capacity, or all a weight")
        if server.capacity == 0:
            yield Fault((*key, "capacity"), f'"{server.name}" has a capacity of 0')


def _overlapping_roots(sites: Mapping[str, SiteTable]) -> Iterator[Fault]:
    """Compare roots by place: the same place has the same scheme, host and port."""
    met: list[tuple[str, str, str]] = []
    for site_name, site in sites.items():
        for number, server in enumerate(site.server):
            for other, place, path in met:
                if place == server.url.place and _nested(path, server.url.path):
                    key = ("site", site_name, "server", number, "url")
                    yield Fault(key, f'the roots of "{server.name}" and {other} overlap')
                    break
            label = f'"{server.name}" of site "{site_name}"'
            met.append((label, server.url.place, server.url.path))


def _overlapping_caches(caches: Mapping[str, CacheTable]) -> Iterator[Fault]:
    met: dict[str, str] = {}
    for name, cache in caches.items():
        for other, path in met.items():
            if _nested(f"/{path}" if path else "", f"/{cache.path}" if cache.path else ""):
                text = f'the paths of cache "{name}" and cache "{other}" overlap'
                yield Fault(("cache", name, "path"), text)
                break
        met[name] = cache.path


def _identity_faults(ssh: SshTable, folder: Path) -> Iterator[Fault]:
    """Look for the key; ssh makes do with its public half when an agent has the other."""
    path = below(folder, ssh.identity_file)
    if path is None:
        return
    cause = _no_file(path)
    if cause and _no_file(Path(f"{path}.pub")):
        text = f'"identity_file" in [ssh]: {printable(str(path))} can not be used: {cause}'
        advice = "name a private key, or leave the line out and let ssh choose"
        yield Fault(("ssh", "identity_file"), f"{text}; {advice}")


def _no_file(path: Path) -> str:
    """Say why something is no file; empty when it is one."""
    try:
        status = path.stat()
    except OSError as error:
        return error.strerror or str(error)
    return "" if stat.S_ISREG(status.st_mode) else "it is not a regular file"


def _nested(one: str, other: str) -> bool:
    """Tell whether two paths are the same or one lies in the other."""
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")
