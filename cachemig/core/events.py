"""What the engine tells while it works: frozen facts, printed by others.

An event is told once and never changed. Console, JSON lines and the run log read the
same events. `as_json` gives the fields of a line of ``--json`` (without its time); `str`
gives one line for people.

Names of fields and types are a promise (report/events.schema.json): new ones may be added, none is
renamed or reused.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import ClassVar, TypeAlias

from cachemig.agent.protocol import Outcome
from cachemig.core.json_values import JsonValue, field_as_json, text_as_json
from cachemig.core.outcomes import Amount, Tally
from cachemig.core.units import format_size
from cachemig.errors import CachemigError, ExitCode

SCHEMA_VERSION = "1.0"


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events; a subclass names its `type` and its fields."""

    type: ClassVar[str] = "event"

    def as_json(self) -> dict[str, JsonValue]:
        """Give the fields as JSON values, the type first."""
        line: dict[str, JsonValue] = {"type": self.type}
        for field in fields(self):
            line |= field_as_json(field.name, getattr(self, field.name))
        return line


Tell: TypeAlias = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """The first event of every run. `inputs` are files read and their SHA-256."""

    type: ClassVar[str] = "run_start"

    run_id: str
    version: str
    argv: tuple[str, ...]
    inputs: Mapping[str, str]
    schema: str = SCHEMA_VERSION

    def __str__(self) -> str:
        """Name the run."""
        return f"run {self.run_id}"


@dataclass(frozen=True, slots=True)
class RunEnded(Event):
    """The last event of every run; without it the program was killed."""

    type: ClassVar[str] = "run_end"

    exit_code: ExitCode
    planned: Amount
    tally: Tally
    resume_command: str = ""

    def as_json(self) -> dict[str, JsonValue]:
        """Count every outcome, also those that did not occur."""
        return {
            "type": self.type,
            "exit_code": int(self.exit_code),
            "outcome": self.exit_code.name.lower(),
            "planned": {"objects": self.planned.objects, "bytes": self.planned.size_bytes},
            "counts": {outcome.value: self.tally[outcome].objects for outcome in Outcome},
            "bytes": {outcome.value: self.tally[outcome].size_bytes for outcome in Outcome},
            **text_as_json("resume_command", self.resume_command),
        }

    def __str__(self) -> str:
        """Sum up the outcomes that occurred, and say how to go on."""
        told = ((o.value.replace("_", " "), self.tally[o]) for o in Outcome)
        counts = [
            f"{amount.objects:,} {name} ({format_size(amount.size_bytes)})"
            for name, amount in told
            if amount.objects
        ]
        ending = ", ".join(counts) or self.exit_code.name.lower().replace("_", " ")
        return f"{ending}; to go on: {self.resume_command}" if self.resume_command else ending


@dataclass(frozen=True, slots=True)
class ErrorTold(Event):
    """The error that ended the run."""

    type: ClassVar[str] = "error"

    slug: str
    exit_code: ExitCode
    message: str
    server: str = ""
    path: str = ""
    cause: str = ""
    next_step: str = ""
    retryable: bool = False

    @classmethod
    def of(cls, error: CachemigError) -> "ErrorTold":
        """Tell an error as an event."""
        return cls(
            error.slug,
            error.exit_code,
            error.what,
            error.server,
            error.path,
            error.cause,
            error.next_step,
            error.retryable,
        )

    def __str__(self) -> str:
        """Say what failed and why, in one line."""
        return f"{self.message}: {self.cause}" if self.cause else self.message


@dataclass(frozen=True, slots=True)
class ObjectDone(Event):
    """What became of one object; `server` is the one it belongs on.

    `damaged_at` says which archive is damaged: that of the ``source`` or ``destination``.
    """

    type: ClassVar[str] = "object"

    path: str
    cache: str
    server: str
    outcome: Outcome
    size_bytes: int
    source: str = ""
    sha256: str = ""
    attempts: int = 1
    cause: str = ""
    damaged_at: str = ""

    def __str__(self) -> str:
        """Name outcome, object and place, and where the archive lies that is damaged."""
        because = f": {self.cause}" if self.cause else ""
        place = f"{self.source} -> {self.server}" if self.source else f"on {self.server}"
        ends = {"source": self.source, "destination": self.server}
        damaged = f", on {ends[self.damaged_at]}" if self.damaged_at in ends else ""
        return f"{self.outcome.value} {self.path} {place}{damaged}{because}"


@dataclass(frozen=True, slots=True)
class ObjectsCounted(Event):
    """Many objects that came to the same end and are not worth a line each."""

    type: ClassVar[str] = "objects"

    source: str
    server: str
    outcome: Outcome
    objects: int
    size_bytes: int

    def __str__(self) -> str:
        """Name outcome, amount and way."""
        amount = f"{self.objects:,} {self.outcome.value} ({format_size(self.size_bytes)})"
        return f"{self.source} -> {self.server}: {amount}"


@dataclass(frozen=True, slots=True)
class SyncPlanned(Event):
    """How much a sync means to bring from one server to another; told once per pair."""

    type: ClassVar[str] = "sync_planned"

    source: str
    destination: str
    objects: int
    size_bytes: int

    def __str__(self) -> str:
        """Name the pair and its amount."""
        return f"{self.source} -> {self.destination}: {self.objects} objects to bring"


@dataclass(frozen=True, slots=True)
class SyncProgress(Event):
    """How far one pair of servers is, counted from the start of the run."""

    type: ClassVar[str] = "sync_progress"

    source: str
    destination: str
    objects: int
    size_bytes: int
    connections: int = 0

    def __str__(self) -> str:
        """Name the pair and what it has done."""
        return f"{self.source} -> {self.destination}: {self.objects} objects done"


@dataclass(frozen=True, slots=True)
class ScanProgress(Event):
    """How far the scan of one server is, counted from its start."""

    type: ClassVar[str] = "scan_progress"

    server: str
    directories: int
    files: int
    directories_unchanged: int = 0

    def __str__(self) -> str:
        """Name the server and what was read."""
        return f"{self.server}: {self.directories} directories, {self.files} files read"


@dataclass(frozen=True, slots=True)
class CheckProgress(Event):
    """How far a check of one server's files is, counted from its start."""

    type: ClassVar[str] = "check_progress"

    server: str
    files: int
    size_bytes: int
    files_planned: int

    def __str__(self) -> str:
        """Name the server and what was checked."""
        return f"{self.server}: {self.files:,} of {self.files_planned:,} files checked"


@dataclass(frozen=True, slots=True)
class ServerProblem(Event):
    """Trouble with a server that the run deals with itself; `action` says how."""

    type: ClassVar[str] = "server_problem"

    server: str
    what: str
    cause: str = ""
    action: str = ""

    def __str__(self) -> str:
        """Name the server, the trouble and what is done about it."""
        because = f": {self.cause}" if self.cause else ""
        then = f"; {self.action}" if self.action else ""
        return f"{self.server}: {self.what}{because}{then}"


@dataclass(frozen=True, slots=True)
class Notice(Event):
    """Something that the operator should know and need not act on."""

    type: ClassVar[str] = "notice"

    text: str

    def __str__(self) -> str:
        """Give the text."""
        return self.text


@dataclass(frozen=True, slots=True)
class Row(Event):
    """One row of a result; `values` are its columns by name."""

    type: ClassVar[str] = "row"

    table: str
    values: Mapping[str, JsonValue]

    def __str__(self) -> str:
        """Give the columns as words."""
        return " ".join(f"{name}={value}" for name, value in self.values.items())
