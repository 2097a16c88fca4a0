"""Where a server's root is: a path, a path on another host, or a bucket."""

import ipaddress
import re
from dataclasses import dataclass, replace
from typing import Literal

from cachemig.errors import UsageError

Scheme = Literal["path", "ssh", "s3"]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SSH = re.compile(
    r"ssh://(?:(?P<user>[^@/]*)@)?(?P<host>\[[^\]/]*\]|[^:/\[\]@]*)(?::(?P<port>[^/]*))?(?P<path>/.*)?"
)
_S3 = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>.*))?")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,63}\$?")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?\.?")
_PASSWORD = re.compile(r":[^/:@]*@")
_SSH_PORT = 22
_MAX_PORT = 65_535
_FORMS = 'write "/srv/sstate" or "ssh://user@host:22/srv/sstate"'
_HOST_FORM = "write it like ssh://user@host:22"


@dataclass(frozen=True, slots=True)
class ServerUrl:
    """The root of a server; `path` is absolute and has no empty part, ``.`` or ``..``.

    Attributes:
        scheme: ``path`` a folder or mount of this machine, ``ssh`` one of another host,
            ``s3`` a bucket (then `host` is the bucket and `path` the prefix).
        user: empty when ssh shall decide.
        host: a name or address; an IPv6 address without its brackets.
        port: None when ssh shall decide.
    """

    scheme: Scheme
    path: str
    host: str = ""
    user: str = ""
    port: int | None = None

    def __str__(self) -> str:
        """Give the URL back in its shortest form."""
        if self.scheme == "path":
            return self.path
        user = f"{self.user}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}://{user}{host}{port}{self.path}"

    @property
    def place(self) -> str:
        """Name what the path is a path of: only roots in the same place can overlap."""
        port = _SSH_PORT if self.scheme == "ssh" and self.port is None else self.port
        return f"{self.scheme}:{self.host.lower().rstrip('.')}:{port}"

    @classmethod
    def parse(cls, text: str) -> "ServerUrl":
        """Read the URL of a server.

        Raises:
            UsageError: it is of no known form, or names something that can not be a root.
        """
        if any(not character.isprintable() for character in text):
            raise _refused(text, "it holds control characters, or is not UTF-8")
        scheme = _SCHEME.match(text)
        if scheme is None:
            return cls("path", _clean_path(text, text))
        if scheme[1] == "ssh":
            return _parse_ssh(text)
        if scheme[1] == "s3":
            return _parse_s3(text)
        raise _refused(text, f"the scheme {scheme[1]!r} is unknown")

    @classmethod
    def parse_host(cls, text: str) -> "ServerUrl":
        """Read the ssh:// URL of a host; a path behind it means nothing here, and is dropped.

        Raises:
            UsageError: it is none.
        """
        if not text.isprintable() or not text.startswith("ssh://"):
            shown = _PASSWORD.sub(":***@", text)[:200]
            raise UsageError(f"{shown!r} is not the ssh:// url of a host", next_step=_HOST_FORM)
        return _parse_ssh_host(text)[0]


def _parse_ssh(text: str) -> ServerUrl:
    host, path = _parse_ssh_host(text)
    return replace(host, path=_clean_path(text, path))


def _parse_ssh_host(text: str) -> tuple[ServerUrl, str]:
    """The host, without a path, and the path."""
    match = _SSH.fullmatch(text)
    if match is None:
        raise _refused(text, "an IPv6 address stands in brackets: ssh://[::1]:22/srv/sstate")
    user, host = match["user"], _clean_host(text, match["host"])
    if user is not None and ":" in user:
        raise UsageError(
            "a server's url holds a password",
            cause="passwords are never taken from a configuration file",
            next_step="remove it, and log in with a key",
        )
    if user is not None and not _USER.fullmatch(user):
        raise _refused(text, f"{user!r} is not a user name")
    return ServerUrl("ssh", "", host, user or "", _port(text, match["port"])), match["path"] or ""


def _parse_s3(text: str) -> ServerUrl:
    match = _S3.fullmatch(text)
    if match is None:
        raise _refused(text, "a bucket is 3 to 63 lower-case letters, digits, dots and hyphens")
    prefix = (match["prefix"] or "").rstrip("/")
    return ServerUrl("s3", _clean_path(text, f"/{prefix}") if prefix else "", match["bucket"])


def _clean_host(text: str, host: str) -> str:
    if host.startswith("["):
        try:
            return str(ipaddress.IPv6Address(host[1:-1]))
        except ValueError:
            raise _refused(text, f"{host} is not an IPv6 address") from None
    if not host:
        raise _refused(text, "it names no host")
    if not _HOST.fullmatch(host):
        raise _refused(text, f"{host!r} is not a host name")
    return host


def _port(text: str, port: str | None) -> int | None:
    if port is None:
        return None
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= _MAX_PORT:
        raise _refused(text, f"{port!r} is not a port from 1 to {_MAX_PORT}")
    return int(port)


def _clean_path(text: str, path: str) -> str:
    if not path.startswith("/"):
        raise _refused(text, "the path is not absolute; it must start with /")
    parts = path.split("/")[1:]
    if ".." in parts or "." in parts:
        raise _refused(text, "the path has a part that is . or ..")
    clean = "/" + "/".join(part for part in parts if part)
    if clean == "/":
        raise _refused(text, "the root of a whole file system can not be a cache")
    return clean


def _refused(text: str, cause: str) -> UsageError:
    shown = _PASSWORD.sub(":***@", text)[:200]
    return UsageError(f"{shown!r} is not a server's url", cause=cause, next_step=_FORMS)
