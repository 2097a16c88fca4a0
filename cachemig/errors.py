"""Everything that can go wrong in a way the operator can act on.

CachemigError                 a text that says what failed, where, why, and what to do next
├── UsageError            2   wrong arguments; nothing was touched
│   ├── ConfigError       2   cachemig.toml or another file the operator wrote is not valid
│   ├── ShardMapError     2   a shard map can not be made, or is not complete
│   └── FormatError       2   a file that cachemig wrote is damaged, missing or too new
├── IncompleteError       3   the run reached its end, but some objects failed
├── ScanError             3   a cache could not be read whole; it is never taken for empty
├── SourceMovedError      4   only vanished or changed source objects were passed over
├── GateClosedError       5   a check found less than was asked for
├── IntegrityError        6   damaged bytes, or other bytes than our own receipt says
├── AccessError           7   a server could not be reached, or refused us
│   ├── ConnectionLostError   7   the connection broke; worth trying again
│   └── GroupError        7   the account can not give files the site's group
├── IdentityError         8   a host key is unknown, changed or revoked
├── LockedError           9   another run holds the lock
├── NoSpaceError         10   no free bytes or inodes at the destination, or for our own state
├── LimitReachedError    11   stopped on purpose at a limit; run again to go on
├── OutputError           1   our own output could not be written; what was told is lost
└── InternalError         1   a fault in cachemig itself

Any other exception is a bug: exit code 1. A signal ends with 128 + its number.
An unknown exit code must be treated as failure.
"""

from collections.abc import Iterable
from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What the process status means; a code never changes its meaning."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    PARTIAL = 3
    SOURCE_MOVED = 4
    NO_GO = 5
    INTEGRITY = 6
    ACCESS = 7
    IDENTITY = 8
    LOCKED = 9
    NO_SPACE = 10
    LIMIT = 11
    HANGUP = 129
    INTERRUPTED = 130
    TERMINATED = 143


_SEVERITY = (
    ExitCode.OK,
    ExitCode.SOURCE_MOVED,
    ExitCode.LIMIT,
    ExitCode.LOCKED,
    ExitCode.PARTIAL,
    ExitCode.NO_GO,
    ExitCode.ACCESS,
    ExitCode.NO_SPACE,
    ExitCode.INTEGRITY,
    ExitCode.IDENTITY,
    ExitCode.USAGE,
    ExitCode.INTERNAL,
    ExitCode.HANGUP,
    ExitCode.INTERRUPTED,
    ExitCode.TERMINATED,
)


def worst(codes: Iterable[ExitCode]) -> ExitCode:
    """The most severe of several exit codes; OK when there is none."""
    return max(codes, key=_SEVERITY.index, default=ExitCode.OK)


class CachemigError(Exception):
    """Base of all errors that are told to the operator without a traceback.

    Args:
        what: what failed, as a sentence without a final stop.
        next_step: what the operator can do now.
        server: the server it happened on, by its name in cachemig.toml.
        path: the object or file it happened to; quoted when printed.
        cause: why, in the words of the system that refused.
    """

    slug: ClassVar[str] = "error"
    exit_code: ClassVar[ExitCode] = ExitCode.USAGE
    retryable: ClassVar[bool] = False

    def __init__(
        self, what: str, *, next_step: str = "", server: str = "", path: str = "", cause: str = ""
    ) -> None:
        super().__init__(what)
        self.what = what
        self.next_step = next_step
        self.server = server
        self.path = path
        self.cause = cause


class UsageError(CachemigError):
    """The arguments ask for something that can not be done; nothing was touched."""

    slug = "usage"


def most_severe(errors: Iterable[CachemigError]) -> CachemigError:
    """The error that a run with several ends with: the first of those with the worst code."""
    return max(errors, key=lambda error: _SEVERITY.index(error.exit_code))


class ConfigError(UsageError):
    """cachemig.toml, or another file the operator wrote, is not valid."""

    slug = "config"


class ShardMapError(UsageError):
    """A shard map can not be made, or does not cover every slot."""

    slug = "shard-map"


class FormatError(UsageError):
    """A file that cachemig itself wrote is damaged, missing, or from a newer version."""

    slug = "file-format"


class IncompleteError(CachemigError):
    """The run reached its end, but some objects failed."""

    slug = "incomplete"
    exit_code = ExitCode.PARTIAL


class ScanError(CachemigError):
    """A cache could not be read whole; what was not read is never taken for empty."""

    slug = "scan"
    exit_code = ExitCode.PARTIAL


class SourceMovedError(CachemigError):
    """Only vanished or changed source objects were passed over."""

    slug = "source-moved"
    exit_code = ExitCode.SOURCE_MOVED


class GateClosedError(CachemigError):
    """A check found less than was asked for."""

    slug = "gate-closed"
    exit_code = ExitCode.NO_GO


class IntegrityError(CachemigError):
    """Damaged bytes were found, or other bytes than our own receipt says."""

    slug = "integrity"
    exit_code = ExitCode.INTEGRITY


class AccessError(CachemigError):
    """A server could not be reached, or refused us."""

    slug = "access"
    exit_code = ExitCode.ACCESS


class ConnectionLostError(AccessError):
    """The connection to a server broke or fell silent; worth trying again."""

    slug = "connection-lost"
    retryable = True


class GroupError(AccessError):
    """Files can not be given the configured group; what is set for a site fails a whole site."""

    slug = "group"


class IdentityError(CachemigError):
    """A server's host key is unknown, changed or revoked; nothing was sent to it."""

    slug = "host-key"
    exit_code = ExitCode.IDENTITY


class LockedError(CachemigError):
    """Another run holds the lock of a destination root."""

    slug = "locked"
    exit_code = ExitCode.LOCKED


class NoSpaceError(CachemigError):
    """No free bytes or inodes are left at a destination, or for our own state."""

    slug = "no-space"
    exit_code = ExitCode.NO_SPACE


class LimitReachedError(CachemigError):
    """The run stopped on purpose at a limit; the same command goes on from there."""

    slug = "limit"
    exit_code = ExitCode.LIMIT


class OutputError(CachemigError):
    """Standard output could not be written, so nobody knows what was told."""

    slug = "output"
    exit_code = ExitCode.INTERNAL


class InternalError(CachemigError):
    """A fault in cachemig itself; only the command line makes one, of any other exception."""

    slug = "internal"
    exit_code = ExitCode.INTERNAL
