"""The real program with one more command, `act`, that ends in every way a command can."""

import sys
import threading
from typing import NamedTuple

from cachemig import errors
from cachemig.agent.protocol import Outcome
from cachemig.cli.app import app, main
from cachemig.cli.run import Run, framed
from cachemig.core.events import ObjectDone, SyncPlanned


class Total(NamedTuple):
    """A row of a result."""

    server: str
    size_bytes: int


def finish(run: Run, outcome: Outcome) -> None:
    """Tell that two objects were planned, and that one came to its end."""
    run.tell(SyncPlanned("nfs-1", "nfs-9", 2, 200))
    run.tell(ObjectDone("3f/a1/x\udc80\x1b[2J", "default", "nfs-9", outcome, 100))


def end_as_named(run: Run, ending: str) -> None:
    """Raise the error of this name, or tell two objects with this outcome and another."""
    if ending in set(Outcome):
        finish(run, Outcome(ending))
        finish(run, Outcome.PRESENT)
        return
    error = getattr(errors, ending)
    raise error("what", server="nfs-1", path="a\nb", cause="why", next_step="do this")


@app.command()
@framed
def act(run: Run, ending: str) -> None:
    """End as told: by an error class, an outcome, or one of the words below."""
    match ending:
        case "log":
            run.open_log()
            run.say("kept")
        case "bug" | "log-bug":
            if ending == "log-bug":
                run.open_log()
            raise ZeroDivisionError
        case "fail":
            run.fail(errors.ExitCode.INTEGRITY)
        case "show":
            run.show("totals", [Total("nfs-1", 12_345), Total("nfs-9", 0)])
            run.echo("the end")
        case "wait":
            finish(run, Outcome.PUBLISHED)
            threading.Event().wait(60)
        case "flood":
            while True:
                finish(run, Outcome.PUBLISHED)
        case "config":
            run.say(", ".join(run.config.sites))
        case _:
            end_as_named(run, ending)


sys.exit(main())
