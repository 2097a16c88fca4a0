"""The real program with one more command, `act`, that ends in every way a command can."""

import contextlib
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, NamedTuple

import typer

from cachemig import errors
from cachemig.agent.protocol import Outcome
from cachemig.cli.app import app, main
from cachemig.cli.run import Run, framed
from cachemig.cli.signals import Stopped
from cachemig.core.events import ObjectDone, SyncPlanned


class Total(NamedTuple):
    """A row of a result."""

    server: str
    size_bytes: int


def finish(run: Run, outcome: Outcome) -> None:
    """Tell that two objects were planned, and that one came to its end."""
    run.tell(SyncPlanned("nfs-1", "nfs-9", 2, 200))
    run.tell(ObjectDone("3f/a1/x\udc80\x1b[2J", "default", "nfs-9", outcome, 100))


def log(run: Run) -> None:
    """Keep a run log."""
    run.open_log()
    run.say("kept")


def fault(_run: Run) -> None:
    """Fail as a program with a mistake in it does."""
    raise ZeroDivisionError


def logged_fault(run: Run) -> None:
    """Fail while a run log is kept."""
    run.open_log()
    fault(run)


def show(run: Run) -> None:
    """Print a result."""
    run.show("totals", [Total("nfs-1", 12_345), Total("nfs-9", 0)])
    run.echo("the end")


def wait(run: Run) -> None:
    """Do something, then wait for a signal."""
    finish(run, Outcome.PUBLISHED)
    threading.Event().wait(60)


def query(run: Run) -> None:
    """Ask DuckDB something that it would take years to answer."""
    import duckdb

    finish(run, Outcome.PUBLISHED)
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("SELECT sum(hash(range)) FROM range(1_000_000_000_000)").fetchall()


def stuck(run: Run) -> None:
    """Wait for something that no exception cuts short."""
    with contextlib.suppress(Stopped):
        run.say("stuck")
        threading.Event().wait()
    threading.Event().wait()


def flood(run: Run) -> None:
    """Tell events until something stops it."""
    while True:
        finish(run, Outcome.PUBLISHED)


def threads(run: Run) -> None:
    """Tell events from many threads that interrupt each other all the time."""
    sys.setswitchinterval(1e-5)
    with ThreadPoolExecutor(8) as pool:
        for _ in range(400):
            pool.submit(finish, run, Outcome.PUBLISHED)


ACTIONS: dict[str, Callable[[Run], None]] = {
    "log": log,
    "bug": fault,
    "log-bug": logged_fault,
    "fail": lambda run: run.fail(errors.ExitCode.INTEGRITY),
    "show": show,
    "wait": wait,
    "query": query,
    "stuck": stuck,
    "flood": flood,
    "threads": threads,
    "config": lambda run: run.say(", ".join(run.config.sites)),
}


@app.command()
@framed
def act(run: Run, ending: Annotated[str, typer.Argument(help="How to end.")]) -> None:
    """End as told: by an action, by an outcome of two objects, or by an error class."""
    if ending in ACTIONS:
        ACTIONS[ending](run)
    elif ending in set(Outcome):
        finish(run, Outcome(ending))
        finish(run, Outcome.PRESENT)
    else:
        error = getattr(errors, ending)
        raise error("what", server="nfs-1", path="a\nb", cause="why", next_step="do this")


sys.exit(main())
