"""Turns what ssh, or our paramiko pipe, said while it died into an error for the operator.

Source of the texts: OpenSSH 9.2p1, sshconnect.c, sshconnect2.c, packet.c, ssh.c.
"""

import json
import re
import shlex
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from cachemig.errors import AccessError, CachemigError, ConnectionLostError, IdentityError

PIPE_PREFIX = "cachemig-pipe: "
_CAUSE_CHARACTERS = 400
_SSH_FAILED = 255
_NOT_EXECUTABLE = 126
_NOT_FOUND = 127


class Trouble(StrEnum):
    """Why a pipe to a server broke, or never was."""

    HOST_UNKNOWN = "host-unknown"
    HOST_CHANGED = "host-changed"
    HOST_REVOKED = "host-revoked"
    AUTH_REFUSED = "auth-refused"
    NO_COMMON_ALGORITHM = "no-common-algorithm"
    BAD_SETTINGS = "bad-settings"
    NAME_UNKNOWN = "name-unknown"
    NO_PYTHON = "no-python"
    LOST = "lost"
    AGENT_FAILED = "agent-failed"


class PipeTrouble(NamedTuple):
    """What a pipe tells of its end.

    Attributes:
        host: as ssh prints it: ``nfs-1`` or ``[nfs-1]:2222``.
        cause: in the words of the program that gave up.
        place: the line that decided, as ``file:line``; or the file alone.
        fingerprint: of the key that the server showed.
        kind: the type of that key.
    """

    trouble: Trouble
    host: str = ""
    cause: str = ""
    place: str = ""
    fingerprint: str = ""
    kind: str = ""

    def as_line(self) -> str:
        """Write it as the one line on stderr that `diagnose` understands."""
        return PIPE_PREFIX + json.dumps(self._asdict())


def diagnose(
    returncode: int, stderr_text: str, server: str, known_hosts_file: Path | None = None
) -> CachemigError:
    """Make the error for a pipe that ended.

    Args:
        returncode: of the child; below 0 when a signal ended it.
        stderr_text: the end of what it said there.
        server: its name in cachemig.toml.
        known_hosts_file: where ssh looked for the server's key; it does not always say.
    """
    found = _understood(returncode, stderr_text)
    if not found.place and known_hosts_file is not None:
        found = found._replace(place=str(known_hosts_file))
    if found.trouble in _HOST_ERRORS:
        return _HOST_ERRORS[found.trouble](found, server)
    error, what, next_step = _TEXTS[found.trouble]
    return error(what, server=server, cause=found.cause, next_step=next_step)


def trouble_of(returncode: int, stderr_text: str) -> Trouble:
    """Say why a pipe ended, as `diagnose` understands it."""
    return _understood(returncode, stderr_text).trouble


def _understood(returncode: int, stderr_text: str) -> PipeTrouble:
    return _from_paramiko(stderr_text) or _from_openssh(returncode, stderr_text)


def nobody_listens(error: CachemigError) -> bool:
    """Whether a host answered that it takes no connections, or no way leads to it."""
    return error.retryable and _NOBODY_LISTENS.search(error.cause) is not None


def _from_paramiko(text: str) -> PipeTrouble | None:
    for line in reversed(text.splitlines()):
        if line.startswith(PIPE_PREFIX):
            try:
                fields = json.loads(line.removeprefix(PIPE_PREFIX))
                return PipeTrouble(**{**fields, "trouble": Trouble(fields["trouble"])})
            except (ValueError, TypeError, KeyError):
                return None
    return None


def _from_openssh(returncode: int, text: str) -> PipeTrouble:
    host_key = _host_key_trouble(text)
    if host_key:
        return host_key
    cause = _last_words(text)
    if returncode in {_NOT_FOUND, _NOT_EXECUTABLE} or _TOO_OLD.search(text):
        return PipeTrouble(Trouble.NO_PYTHON, cause=cause)
    if returncode not in {_SSH_FAILED, 0} and returncode > 0:
        return PipeTrouble(Trouble.AGENT_FAILED, cause=cause or f"exit status {returncode}")
    for pattern, trouble in _PATTERNS:
        match = pattern.search(text)
        if match:
            return PipeTrouble(trouble, cause=_line_around(text, match.start()))
    return PipeTrouble(Trouble.LOST, cause=cause)


def _host_key_trouble(text: str) -> PipeTrouble | None:
    """Read what ssh says of a host key it does not trust."""
    found = ((pattern.search(text), trouble) for pattern, trouble in _HOST_KEY_PATTERNS)
    match, trouble = next(((m, t) for m, t in found if m), (None, Trouble.LOST))
    if match is None:
        return None
    told = match.groupdict(default="")
    fingerprint = re.search(r"^(SHA256:\S+?)\.?\r?$", text, re.MULTILINE)
    offending = re.search(r"^Offending .*key in (.+?)\r?$", text, re.MULTILINE)
    return PipeTrouble(
        trouble,
        host=told.get("host", ""),
        kind=told.get("kind", ""),
        cause=match[0].strip(),
        place=offending[1] if offending else "",
        fingerprint=fingerprint[1] if fingerprint else "",
    )


_HOST_KEY_PATTERNS = (
    (
        re.compile(r"(?P<kind>\S+) host key for (?P<host>\S+) (?:is marked as|was) revoked"),
        Trouble.HOST_REVOKED,
    ),
    (re.compile(r"Host key \S+ \S+ revoked by file \S+"), Trouble.HOST_REVOKED),
    (re.compile(r"Host key for (?P<host>\S+) has changed"), Trouble.HOST_CHANGED),
    (
        re.compile(r"No (?P<kind>\S+) host key is known for (?P<host>\S+)"),
        Trouble.HOST_UNKNOWN,
    ),
    (re.compile(r"Host key verification failed"), Trouble.HOST_UNKNOWN),
)
_PATTERNS = (
    (re.compile(r"Unable to negotiate|no matching .* found"), Trouble.NO_COMMON_ALGORITHM),
    (re.compile(r"Permission denied \(|Too many authentication failures"), Trouble.AUTH_REFUSED),
    (re.compile(r"Bad configuration option|[Bb]ad owner or permissions"), Trouble.BAD_SETTINGS),
    (re.compile(r"(?:keyword|line \d+:).*(?:unsupported|missing|invalid)"), Trouble.BAD_SETTINGS),
    (re.compile(r"Could not resolve hostname .*(?:not known|No address)"), Trouble.NAME_UNKNOWN),
)
_NOBODY_LISTENS = re.compile(r"Connection refused|No route to host|Network is unreachable")
_TOO_OLD = re.compile(r"python3 is too old here|python3: not found|[Uu]nknown option:? -I")


def _line_around(text: str, at: int) -> str:
    start = text.rfind("\n", 0, at) + 1
    end = text.find("\n", at)
    return text[start : end if end >= 0 else None].strip()[:_CAUSE_CHARACTERS]


def _last_words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:_CAUSE_CHARACTERS] if lines else ""


def _keyscan(host: str) -> str:
    """Write the command that fetches a server's keys."""
    match = re.fullmatch(r"\[(.+)\]:(\d+)", host)
    name, port = (match[1], match[2]) if match else (host or "HOST", "22")
    return f"ssh-keyscan -p {port} {shlex.quote(name)}"


def _host_unknown(found: PipeTrouble, server: str) -> CachemigError:
    scan = _keyscan(found.host)
    kind = f" {found.kind}" if found.kind else ""
    file = shlex.quote(found.place) if found.place else "~/.ssh/known_hosts"
    return IdentityError(
        f"the host key of {found.host or 'the server'} is not known, so nothing was sent to it",
        server=server,
        cause=_with_fingerprint(found),
        next_step=f"see the{kind} fingerprint with `{scan} | ssh-keygen -lf -`, compare it with "
        "`ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub` at the server's console, "
        f"then `{scan} >> {file}`",
    )


def _host_changed(found: PipeTrouble, server: str) -> CachemigError:
    file, _, _ = found.place.rpartition(":")
    remove = f"ssh-keygen -R {shlex.quote(found.host)} -f {shlex.quote(file or 'FILE')}"
    return IdentityError(
        f"the host key of {found.host} has changed, so nothing was sent to it",
        server=server,
        path=found.place,
        cause=_with_fingerprint(found),
        next_step="find out at the server's console whether it was installed anew "
        "(`ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub`); only if its fingerprint is this one: "
        f"`{remove}`, then `{_keyscan(found.host)} >> {shlex.quote(file or 'FILE')}`",
    )


def _host_revoked(found: PipeTrouble, server: str) -> CachemigError:
    return IdentityError(
        f"the host key of {found.host or 'the server'} is revoked, so nothing was sent to it",
        server=server,
        path=found.place,
        cause=_with_fingerprint(found),
        next_step="treat the server as taken over until its owner says otherwise; "
        "it needs a new host key",
    )


def _with_fingerprint(found: PipeTrouble) -> str:
    shown = f"the server showed {found.fingerprint}" if found.fingerprint else ""
    return "; ".join(part for part in (found.cause, shown) if part)


_HOST_ERRORS: dict[Trouble, Callable[[PipeTrouble, str], CachemigError]] = {
    Trouble.HOST_UNKNOWN: _host_unknown,
    Trouble.HOST_CHANGED: _host_changed,
    Trouble.HOST_REVOKED: _host_revoked,
}
_TEXTS: dict[Trouble, tuple[type[CachemigError], str, str]] = {
    Trouble.AUTH_REFUSED: (
        AccessError,
        "the server refused our login",
        (
            "check the user in the url and `identity_file` under [ssh]; a key with a passphrase "
            "must be in a running ssh-agent (`ssh-add -l`)"
        ),
    ),
    Trouble.NO_COMMON_ALGORITHM: (
        AccessError,
        "the server offers no algorithm that is safe to use",
        "update its sshd; cachemig allows no weak ciphers, MACs or key exchanges",
    ),
    Trouble.BAD_SETTINGS: (
        AccessError,
        "the ssh settings of this account can not be used",
        "mend the named line of ~/.ssh/config, then try `ssh HOST true`",
    ),
    Trouble.NAME_UNKNOWN: (
        AccessError,
        "the server's host name is not known",
        "check the url in cachemig.toml, or the name service",
    ),
    Trouble.NO_PYTHON: (
        AccessError,
        "the server has no python3 of version 3.9 or newer",
        (
            "install python3 there; or mount its cache on a machine that has it, and name the "
            "mount as the url"
        ),
    ),
    Trouble.LOST: (
        ConnectionLostError,
        "the connection to the server was lost, or never came up",
        (
            "check that the host is up, the host and port in the url, and that the network is "
            "open; then run the same command again: it goes on where it stopped"
        ),
    ),
    Trouble.AGENT_FAILED: (
        AccessError,
        "the agent did not run to its end on the server",
        (
            "log in by hand and run `python3 -I -S -c 'print(1)'`; a login shell or a forced "
            "command that prints or refuses is in the way"
        ),
    ),
}
