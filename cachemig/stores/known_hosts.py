"""Reads OpenSSH's known_hosts files whole: what paramiko would choke on, or pass over.

A file may hold plain names, ``[host]:port``, hashed names, wildcards, negations, several
names in a line, ``@revoked`` and ``@cert-authority`` lines. Nothing is skipped silently:
a line that can not be used is told with file and line number.

Source: OpenSSH, sshd(8) "SSH_KNOWN_HOSTS FILE FORMAT", hostfile.c and match.c.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

DEFAULT_PORT = 22
_HASHED = "|1|"
_COMMENT = "#"


class Marker(StrEnum):
    """What a line says of its key."""

    TRUSTED = ""
    REVOKED = "@revoked"
    AUTHORITY = "@cert-authority"


class HostKey(NamedTuple):
    """One public host key.

    Attributes:
        kind: as OpenSSH names it, e.g. ``ssh-ed25519``.
        blob: the key as it goes over the wire.
    """

    kind: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """Print the key as OpenSSH does: ``SHA256:`` and 43 characters."""
        digest = hashlib.sha256(self.blob).digest()
        return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")


class Place(NamedTuple):
    """A line of a file; prints as ``/path/known_hosts:12``."""

    file: Path
    line: int

    def __str__(self) -> str:
        """Print it as compilers do."""
        return f"{self.file}:{self.line}"


class KnownKey(NamedTuple):
    """A line that speaks of a host, and the key in it."""

    key: HostKey
    place: Place


class HostKeys(NamedTuple):
    """All that is known of one host and port."""

    trusted: tuple[KnownKey, ...]
    revoked: tuple[KnownKey, ...]
    authorities: tuple[KnownKey, ...]


class BrokenLine(NamedTuple):
    """A line that can not be used, and why."""

    place: Place
    cause: str


class _Line(NamedTuple):
    marker: Marker
    hosts: str
    known: KnownKey


class KnownHosts:
    """The lines of some known_hosts files.

    Attributes:
        broken: the lines that can not be used.
    """

    def __init__(self, lines: Sequence[_Line], broken: Sequence[BrokenLine]) -> None:
        self._lines = tuple(lines)
        self.broken = tuple(broken)

    @classmethod
    def read(cls, files: Iterable[Path]) -> "KnownHosts":
        """Read files in order; one that does not exist holds no keys.

        Raises:
            OSError: a file is there and can not be read.
        """
        lines: list[_Line] = []
        broken: list[BrokenLine] = []
        for file in files:
            if not file.exists():
                continue
            text = file.read_bytes().decode("utf-8", "surrogateescape")
            for number, row in enumerate(text.split("\n"), start=1):
                _read_line(row.strip(" \t\r"), Place(file, number), lines, broken)
        return cls(lines, broken)

    def lookup(self, host: str, port: int) -> HostKeys:
        """Find what is known of a host.

        On another port than 22, keys of ``[host]:port`` count; only if there are none of
        them those of the bare host name, as with ssh. Revocations under either count.
        """
        bare = host.lower()
        name = bare if port == DEFAULT_PORT else f"[{bare}]:{port}"
        by_name = [line for line in self._lines if matches(name, line.hosts)]
        by_host = [line for line in self._lines if matches(bare, line.hosts)]
        trusted = _keys(by_name, Marker.TRUSTED) or _keys(by_host, Marker.TRUSTED)
        revoked = dict.fromkeys(_keys(by_name, Marker.REVOKED) + _keys(by_host, Marker.REVOKED))
        return HostKeys(trusted, tuple(revoked), _keys(by_name, Marker.AUTHORITY))


def matches(name: str, hosts: str) -> bool:
    """Tell whether a lower-case host name is meant by the first field of a line."""
    if hosts.startswith(_HASHED):
        return _matches_hash(name, hosts)
    found = False
    for pattern in hosts.split(","):
        if pattern.startswith("!"):
            if _matches_pattern(name, pattern[1:]):
                return False
        elif _matches_pattern(name, pattern):
            found = True
    return found


def _matches_pattern(name: str, pattern: str) -> bool:
    wildcards = {"*": ".*", "?": "."}
    expression = "".join(wildcards.get(c) or re.escape(c) for c in pattern.lower())
    return bool(pattern) and re.fullmatch(expression, name, re.DOTALL) is not None


def _matches_hash(name: str, hosts: str) -> bool:
    salt, _, expected = hosts.removeprefix(_HASHED).partition("|")
    try:
        key, digest = base64.b64decode(salt, validate=True), base64.b64decode(expected)
    except binascii.Error:
        return False
    return hmac.digest(key, name.encode("utf-8", "surrogateescape"), "sha1") == digest


def _keys(lines: Iterable[_Line], marker: Marker) -> tuple[KnownKey, ...]:
    return tuple(line.known for line in lines if line.marker is marker)


def _read_line(row: str, place: Place, lines: list[_Line], broken: list[BrokenLine]) -> None:
    if not row or row.startswith(_COMMENT):
        return
    fields = row.split()
    marker = Marker.TRUSTED
    if row.startswith("@"):
        if fields[0] not in list(Marker):
            broken.append(BrokenLine(place, f"unknown marker {fields[0]}"))
            return
        marker = Marker(fields.pop(0))
    try:
        hosts, key = _read_fields(fields)
    except ValueError as problem:
        broken.append(BrokenLine(place, str(problem)))
        return
    lines.append(_Line(marker, hosts, KnownKey(key, place)))


def _read_fields(fields: Sequence[str]) -> tuple[str, HostKey]:
    """Take apart hosts, key type and key.

    Raises:
        ValueError: with what is wrong.
    """
    if len(fields) < 3:  # noqa: PLR2004  (hosts, type, key)
        raise ValueError("a line needs a host, a key type and a key")
    hosts, kind, text = fields[:3]
    if kind.isdigit():
        raise ValueError("an SSH 1 key, which nobody accepts any more")
    if hosts.startswith("|") and not _can_be_hashed(hosts):
        raise ValueError("a hashed name that can not be")
    try:
        blob = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("the key is not base64") from None
    if _kind_of(blob) != kind:
        raise ValueError(f"the key is not of the type {kind}")
    return hosts, HostKey(kind, blob)


def _can_be_hashed(hosts: str) -> bool:
    parts = hosts.split("|")
    try:
        sizes = [len(base64.b64decode(part, validate=True)) for part in parts[2:]]
    except binascii.Error:
        return False
    return parts[:2] == ["", "1"] and sizes == [20, 20]


def _kind_of(blob: bytes) -> str:
    """Read the type that a key says it has; empty for nonsense."""
    length = int.from_bytes(blob[:4], "big")
    name = blob[4 : 4 + length]
    return name.decode("ascii", "replace") if len(name) == length else ""
