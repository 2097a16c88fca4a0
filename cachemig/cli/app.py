"""The program: all commands, and the one place where errors become exit codes."""

import contextlib
import os
import sys
import threading
import traceback
from typing import Annotated, NoReturn

import typer

from cachemig import __version__
from cachemig.cli import demo, init, inventory, shards, sync, verify
from cachemig.cli.options import command_group
from cachemig.cli.run import DEFAULT_CONFIG, Run, RunOptions
from cachemig.cli.signals import STOPPING, Stopped, StopSignals
from cachemig.errors import (
    CachemigError,
    ExitCode,
    InternalError,
    NoSpaceError,
    OutputError,
    UsageError,
    worst,
)
from cachemig.report.console import Detail
from cachemig.report.errors import error_origin, error_text
from cachemig.report.output import stdout_error

app = command_group("Move Yocto shared-state caches between sites, and prove that they arrived.")


def _version_asked(asked: bool) -> None:
    if asked:
        print(f"cachemig {__version__}")
        raise typer.Exit


@app.callback(epilog="Exit codes: docs/messages.md. An unknown exit code means failure.")
def program(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_version_asked
        ),
    ] = False,
) -> None:
    """Take the options that stand before the command."""


app.command()(init.init)
app.command()(demo.demo)
app.command()(inventory.scan)
app.add_typer(inventory.app, name="inventory")
app.add_typer(shards.app, name="shards")
app.command()(sync.sync)
app.add_typer(verify.app, name="verify")
app.command()(verify.quarantine)


def main(argv: list[str] | None = None) -> int:
    """Run one command and return the exit status of the process."""
    _open_closed_streams()
    words = tuple(sys.argv[1:] if argv is None else argv)
    ending = threading.Lock()

    def end_overdue(code: ExitCode) -> None:
        if ending.acquire(blocking=False):
            run.fail(code)
            os._exit(_flushed(_end(run, None, json="--json" in words)))

    signals = StopSignals(end_overdue, lambda: run.last_remark(STOPPING))
    run = Run(words, signals)
    with signals.caught():
        error = None
        try:
            error = _perform(run, words, signals)
            signals.release()
        except Stopped as stopped:
            run.fail(stopped.exit_code)
        ending.acquire()  # for good: the end is told once
        return int(_flushed(_end(run, error, json="--json" in words)))


def start() -> NoReturn:
    """Be the program: leave at once in the end, whatever a thread still waits for."""
    code = main()
    sys.stderr.flush()
    os._exit(code)


def _perform(run: Run, words: tuple[str, ...], signals: StopSignals) -> CachemigError | None:
    """Run the command; give back the error that ended it, with its exit code noted.

    Raises:
        Stopped: a signal ended it.
    """
    error: CachemigError
    try:
        command = typer.main.get_command(app)
        with command.make_context("cachemig", list(words) or ["--help"], obj=run) as context:
            command.invoke(context)
    except typer.Exit as ended:
        run.fail(ExitCode(ended.exit_code))
        return None
    except CachemigError as told:
        error = told
    except typer.TyperException as refused:
        error = _as_usage_error(refused)
    except Exception as bug:  # the last line of defence: told as a bug, exit 1
        if signals.stopped is not None:
            raise signals.stopped from bug
        if isinstance(bug, OSError) and not run.started:  # nothing but help was to be printed
            error = stdout_error(bug)
        else:
            error = _as_internal_error(run, bug)
    else:
        return None
    run.fail(error.exit_code)
    return error


def _as_usage_error(refused: typer.TyperException) -> UsageError:
    context = getattr(refused, "ctx", None)
    command = context.command_path if context else "cachemig"
    what = refused.format_message().rstrip(".")
    if command == "cachemig" and what.startswith("No such option: --"):
        hint = "write it after the command, as in `cachemig scan old --config FILE`; "
    elif command == "cachemig verify":
        hint = "say what to verify: `cachemig verify presence OLD NEW` or `verify integrity SITE`; "
    else:
        hint = ""
    return UsageError(what, next_step=f"{hint}see `{command} --help`")


def _as_internal_error(run: Run, bug: Exception) -> InternalError:
    kept = run.keep_traceback("".join(traceback.format_exception(bug)))
    return InternalError(
        "a fault in cachemig itself stopped the run",
        cause=f"{type(bug).__name__}: {bug}",
        next_step=f"run the command again; report the traceback {kept}",
    )


def _end(run: Run, error: CachemigError | None, *, json: bool) -> ExitCode:
    """Print the error for people and the last event; an unwritable output is an error too."""
    try:
        if json and not run.started and error is not None:
            run.start(RunOptions(DEFAULT_CONFIG, json=True, detail=Detail.NORMAL))
        code = run.end(error)
    except (OutputError, NoSpaceError) as lost:
        error, code = error or lost, worst([run.exit_code(), lost.exit_code])
    if error is not None:
        with contextlib.suppress(OSError):
            print(error_text(error), file=sys.stderr)
            if run.verbose and error.__traceback__ is not None:
                print(error_origin(error), file=sys.stderr)
    return code


def _flushed(code: ExitCode) -> ExitCode:
    """Write out what is buffered now, so that a failure still changes the exit code.

    Nobody has to read standard error; but a failed flush of it at the very end would turn
    the status of the process into Python's own 120.
    """
    for stream, lost in ((sys.stderr, code), (sys.stdout, ExitCode.INTERNAL)):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            code = lost
    return code


def _open_closed_streams() -> None:
    """Keep descriptors 0 to 2 from being given to other files; a closed one refuses writes."""
    for number, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)
