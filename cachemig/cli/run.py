"""The frame of every command: configuration, output, the first and the last event.

A command is a function whose first parameter is the `Run`; `framed` adds the options
that all commands share (--config --json -q -v), so a command states only its own::

    @framed
    def status(run: Run, site: SiteArgument) -> None:
        \"\"\"Say how a site is: heavy imports only in here.\"\"\"
        run.show("servers", [...])                      # NamedTuples: a table, or rows of --json
        run.fail(ExitCode.INTEGRITY)                    # a result, not an error; errors are raised

`cli/app.py` registers it: ``app.command()(inventory.scan)``; a module with several commands
has an ``app = command_group("What they are for.")``, added by ``app.add_typer``. Every
`ObjectDone`, `ObjectsCounted` and `SyncPlanned` that is told is added up for run_end and the
exit code.
"""

import contextlib
import functools
import inspect
import os
import sys
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import typer

from cachemig import __version__
from cachemig.cli.inputs import digests
from cachemig.cli.onward import Onward
from cachemig.cli.options import ConfigOption, JsonOption, QuietOption, VerboseOption
from cachemig.cli.signals import StopSignals
from cachemig.core.disk import own_file_refused
from cachemig.core.events import (
    ErrorTold,
    Event,
    Notice,
    ObjectDone,
    ObjectsCounted,
    Row,
    RunEnded,
    RunStarted,
    SyncPlanned,
)
from cachemig.core.outcomes import Amount, Tally, exit_code
from cachemig.errors import CachemigError, ExitCode, UsageError, worst
from cachemig.report.console import Console, Detail
from cachemig.report.json_lines import JsonLines
from cachemig.report.output import LineOutput, log_error, stdout_error
from cachemig.report.redact import redacted
from cachemig.report.table import table_lines, values_of

if TYPE_CHECKING:
    from cachemig.agent.protocol import Outcome
    from cachemig.config import Config

DEFAULT_CONFIG = Path("cachemig.toml")


class RunOptions(NamedTuple):
    """What the shared options of a command said."""

    config: Path
    json: bool
    detail: Detail


class Run:
    """One execution of the program: where its events go, and what it has done so far."""

    def __init__(self, argv: tuple[str, ...], signals: StopSignals) -> None:
        self.argv = redacted(argv)
        self.run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid4().hex[:6]}"
        self.onward = Onward(self.argv)
        self._signals = signals
        self._options: RunOptions | None = None
        self._started: RunStarted | None = None
        self.log_path: Path | None = None
        self._stdout = LineOutput(1, stdout_error)
        self._console = Console(sys.stderr, Detail.QUIET)
        self._lines: list[JsonLines] = []
        self._lock = threading.Lock()
        self._planned = Amount()
        self._amounts: dict[Outcome, Amount] = {}
        self._failure = ExitCode.OK
        self._ended = False
        self._only_plans = False

    @property
    def started(self) -> bool:
        """Tell whether run_start was told, so that run_end is due."""
        return self._started is not None

    @property
    def json(self) -> bool:
        """Tell whether standard output belongs to JSON Lines."""
        return self._options is not None and self._options.json

    @property
    def verbose(self) -> bool:
        """Tell whether details are wanted."""
        return self._options is not None and self._options.detail is Detail.VERBOSE

    @functools.cached_property
    def config(self) -> "Config":
        """Read cachemig.toml, at the first use.

        Raises:
            ConfigError: it is missing or not valid.
        """
        from cachemig.config import load

        return load(self._given_options.config)

    @property
    def config_path(self) -> Path:
        """Name the file that --config says, whether or not it exists."""
        return self._given_options.config

    def start(self, options: RunOptions) -> None:
        """Open the outputs and tell the first event."""
        self._options = options
        self._console = Console(sys.stderr, options.detail)
        if options.json:
            self._lines.append(JsonLines(self._stdout, _now))
        self.onward.configured(options.config, DEFAULT_CONFIG)
        inputs = digests([options.config])
        self._started = RunStarted(self.run_id, __version__, self.argv, inputs)
        self.tell(self._started)

    def tell(self, event: Event) -> None:
        """Print an event wherever it belongs, and add it up; any thread may. run_end is the last.

        Raises:
            OutputError: standard output or the run log can not be written; stop the work.
        """
        with self._signals.shield(), self._lock:
            if self._ended:
                return
            self._ended = isinstance(event, RunEnded)
            self._count(event)
            for lines in self._lines:
                lines.tell(event)
            self._console.tell(event)

    def say(self, text: str) -> None:
        """Tell people a remark, on standard error (an event with --json)."""
        self.tell(Notice(text))

    def last_remark(self, text: str) -> None:
        """Tell people that the end is near, unless it is there; no bar is drawn any more."""
        with self._lock:
            if not self._ended:
                self._console.stop_drawing(text)

    def echo(self, text: str) -> None:
        """Print a result made of text on standard output; on standard error with --json."""
        with self._signals.shield(), self._lock:
            if self.json:
                self._console.write(text)
            else:
                self._console.clear()
                self._stdout.write(text.encode("utf-8", "backslashreplace") + b"\n")

    def ask(self, question: str) -> str:
        """Have a person at the terminal answer a question."""
        self._console.clear()
        print(question, end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip()

    def show(self, table: str, rows: Iterable[object]) -> None:
        """Print NamedTuples or dataclasses as a table, or as events with --json."""
        values = [values_of(row) for row in rows]
        if self.json:
            for row in values:
                self.tell(Row(table, row))
        else:
            for line in table_lines(values):
                self.echo(line)

    def open_log(self) -> None:
        """Keep every event of this run in ``runs/<run_id>.jsonl`` of the state directory.

        Raises:
            NoSpaceError, UsageError: the state directory can not be written; nothing was done.
        """
        directory = self.config.state_dir / "runs"
        path = directory / f"{self.run_id}.jsonl"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o640)
        except OSError as error:
            raise own_file_refused(error, str(path), "no log can be kept", UsageError) from error
        log = JsonLines(LineOutput(descriptor, functools.partial(log_error, path)), _now)
        if self._started is not None:
            log.tell(self._started)
        self._lines.append(log)
        self.log_path = self._console.log_path = path

    def keep_traceback(self, text: str) -> str:
        """Keep a traceback where it can be found; returns where."""
        if self.log_path is not None:
            kept = self.log_path.with_suffix(".traceback")
            with contextlib.suppress(OSError):
                kept.write_text(text, encoding="utf-8", errors="backslashreplace")
                return f"in {kept}"
        with self._lock:
            self._console.clear()
            self._console.write(text)
        return "above"

    def fail(self, code: ExitCode) -> None:
        """End with this exit code, or a worse one, though nothing is raised; see `onward`."""
        self._failure = worst([self._failure, code])

    def only_plan(self) -> None:
        """Let what is planned and not attempted be a success: nothing else was asked for."""
        self._only_plans = True

    def exit_code(self) -> ExitCode:
        """Tell how the run ends if nothing more happens."""
        tally = Tally(self._amounts) if self._only_plans else self._tally
        return exit_code(tally, self._failure)

    def end(self, error: CachemigError | None = None) -> ExitCode:
        """Tell the error, if any, and the last event; returns the status of the process."""
        if error is not None:
            self.tell(ErrorTold.of(error))
        code = self.exit_code()
        self.tell(RunEnded(code, self._planned, self._tally, self.onward.command(code)))
        return code

    @property
    def _tally(self) -> Tally:
        return Tally(self._amounts).completed(self._planned)

    @property
    def _given_options(self) -> RunOptions:
        if self._options is None:
            raise RuntimeError("the run was not started")
        return self._options

    def _count(self, event: Event) -> None:
        self.onward.take(event)
        match event:
            case ObjectDone(outcome=outcome, size_bytes=size_bytes):
                amount = Amount(1, size_bytes)
            case ObjectsCounted(outcome=outcome, objects=objects, size_bytes=size_bytes):
                amount = Amount(objects, size_bytes)
            case SyncPlanned(objects=objects, size_bytes=size_bytes):
                self._planned = self._planned.plus(Amount(objects, size_bytes))
                return
            case _:
                return
        self._amounts[outcome] = self._amounts.get(outcome, Amount()).plus(amount)


def framed(command: Callable[..., None]) -> Callable[..., None]:
    """Make a command of a function that takes a `Run`, with the options that all share."""
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    shared = list(inspect.signature(_shared_options, eval_str=True).parameters.values())
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*own, *shared)]

    @functools.wraps(command)
    def run_command(context: typer.Context, **values: object) -> None:
        run = context.find_object(Run)
        if run is None:
            raise RuntimeError("commands are started by cachemig.cli.app.main")
        given: dict[str, Any] = {p.name: values.pop(p.name) for p in shared}
        run.start(_shared_options(**given))
        command(run, **values)

    first = inspect.Parameter(
        "context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
    )
    signature = inspect.Signature([first, *parameters])
    run_command.__signature__ = signature  # type: ignore[attr-defined]
    run_command.__annotations__ = {p.name: p.annotation for p in (first, *parameters)}
    return run_command


def _shared_options(
    *,
    config: ConfigOption = DEFAULT_CONFIG,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> RunOptions:
    if quiet and verbose:
        raise typer.BadParameter("--quiet and --verbose exclude each other")
    detail = Detail.QUIET if quiet else Detail.VERBOSE if verbose else Detail.NORMAL
    return RunOptions(config, json, detail)


def _now() -> datetime:
    return datetime.now(UTC)
