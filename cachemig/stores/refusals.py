"""What the refusals of an agent, and its silence, mean to the operator."""

import json
from collections.abc import Callable

from cachemig.agent.peer import AgentError, Peer
from cachemig.core.disk import is_full
from cachemig.errors import (
    AccessError,
    CachemigError,
    ConnectionLostError,
    GroupError,
    IncompleteError,
    LockedError,
    NoSpaceError,
    ScanError,
)
from cachemig.stores.answers import NonsenseError

Diagnose = Callable[[int, str, str], CachemigError]
"""Explains a dead child: its exit status, what it said on stderr, the server's name."""


def lost(why: str, peer: Peer, server: str, diagnose: Diagnose) -> CachemigError:
    """The error for a connection that is gone; the child's own words say more than ours."""
    returncode, said = peer.returncode(), peer.stderr_text()
    peer.close()
    if returncode > 0 or said.strip():
        return diagnose(returncode, said, server)
    return ConnectionLostError(
        "the connection to the server was lost",
        server=server,
        cause=why,
        next_step="run the same command again; it goes on where it stopped",
    )


def senseless(error: NonsenseError, server: str) -> AccessError:
    """The error for a server whose answers can not be those of our agent."""
    return AccessError(
        "the server gives answers that make no sense, so nothing more is believed of it",
        server=server,
        cause=str(error),
        next_step="log in by hand and look what `python3` is there; it may have been tampered with",
    )


def explained(error: AgentError, server: str, diagnose: Diagnose) -> CachemigError:
    """Turn an agent's refusal into the error that tells the operator what to do."""
    if error.code == "lost":
        told = str(error.about.get("returncode"))
        returncode = int(told) if told.lstrip("-").isdecimal() else 0
        return diagnose(returncode, str(error.about.get("stderr", "")) or error.message, server)
    if error.code == "os" and is_full(error.number):
        return no_space(server, error.path, error.message)
    kind, what, next_step = _REFUSALS.get(error.code, _REFUSALS["os"])
    cause = _holder(error.message) if kind is LockedError else error.message
    return kind(what, server=server, path=error.path, cause=cause, next_step=next_step)


def no_space(server: str, path: str, cause: str) -> NoSpaceError:
    """The error for a server whose disk, inodes or quota are used up."""
    return NoSpaceError(
        "no space is left on the server",
        server=server,
        path=path,
        cause=cause,
        next_step="free bytes or inodes there, then run the same command again",
    )


def _holder(told: str) -> str:
    """Say who holds a lock; what is no note of ours is given as it stands."""
    try:
        about = json.loads(told)
        run = f"run {about['run_id']}, started by {about['who']}, holds it since {about['since']}"
        return f"{run}; its agent is pid {about['pid']} on {about['host']}"
    except (ValueError, TypeError, KeyError):
        return told


_REFUSALS: dict[str, tuple[type[CachemigError], str, str]] = {
    "os": (
        AccessError,
        "the server refused to work on a file or directory",
        "check owner, group and mode there; the account must be able to read and write the root",
    ),
    "no-root": (
        AccessError,
        "the server's root is missing",
        "check that it is mounted, and the url in cachemig.toml; nothing was taken for empty",
    ),
    "scan": (
        ScanError,
        "a directory of the cache could not be read, so nothing of this scan is used",
        "mend the directory (mode, mount, link), then scan again",
    ),
    "locked": (
        LockedError,
        "another run is writing to this root",
        "wait for it, or end the process that started it, on its machine; the lock goes with it",
    ),
    "group": (
        GroupError,
        "the account can not give files the configured group",
        "add the account to the group on that server, or change `group` in cachemig.toml",
    ),
    "bad-path": (
        IncompleteError,
        "a path was refused because it could lead outside the root",
        "look at what wrote that name; cachemig never touches it",
    ),
}
