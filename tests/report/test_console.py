"""What people see: progress on a terminal only, problems always."""

import os
import pty
import termios
import threading
from io import StringIO

import pytest

from cachemig.agent.protocol import Outcome
from cachemig.core import events
from cachemig.core.outcomes import Amount, Tally
from cachemig.errors import ExitCode
from cachemig.report.console import Console, Detail

SYNC = [
    events.SyncPlanned("nfs-1", "nfs-8", 4, 4 * 2**20),
    events.SyncPlanned("nfs-2", "nfs-8", 1, 2**20),
    events.SyncProgress("nfs-1", "nfs-8", 2, 2 * 2**20),
    events.ServerProblem("nfs-2", "the connection broke", "reset", "trying again in 2s"),
    events.SyncProgress("nfs-2", "nfs-8", 1, 2**20),
]


@pytest.fixture
def seen():
    """Show events on a terminal and give back what it received."""

    def show(shown, detail=Detail.NORMAL):
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, 100))
        received = bytearray()

        def receive():
            while True:
                try:
                    received.extend(os.read(ours, 65_536))
                except OSError:  # the other end is closed
                    return

        reader = threading.Thread(target=receive)
        reader.start()
        with os.fdopen(theirs, "w") as terminal:
            console = Console(terminal, detail)
            for event in shown:
                console.tell(event)
            console.close()
        reader.join(timeout=30)
        os.close(ours)
        return received.decode()

    return show


def told(shown, detail=Detail.NORMAL):
    """Show events to something that is no terminal."""
    stream = StringIO()
    console = Console(stream, detail)
    for event in shown:
        console.tell(event)
    console.close()
    return stream.getvalue()


def test_a_terminal_sees_objects_bytes_and_time_left_for_each_pair_and_in_all(seen):
    """The last state of each bar stays on the screen."""
    screen = seen(SYNC)

    assert "nfs-1 -> nfs-8 |" in screen
    assert "2.00M/4.00M" in screen
    assert "in all |" in screen
    assert "3.00M/5.00M" in screen
    assert "3/5 objects" in screen
    assert "left" in screen
    assert "nfs-2: the connection broke: reset; trying again in 2s\r\n" in screen


def test_scans_and_checks_are_seen_by_server(seen):
    """A scan does not know its end; a check does."""
    screen = seen(
        [events.ScanProgress("nfs-1", 12, 3456), events.CheckProgress("nfs-8", 50, 10**6, 200)]
    )

    assert "nfs-1: 12 directories, 3456 files read" in screen
    assert "50/200 objects" in screen


def test_one_pair_needs_one_bar(seen):
    """The sum of one is itself."""
    assert "nfs-1 -> nfs-8 |" not in seen([SYNC[0], SYNC[2]])


def test_what_is_no_terminal_gets_lines_only():
    """A log file is not filled with bars."""
    lines = told(SYNC, Detail.VERBOSE).splitlines()

    assert lines == [
        "nfs-1 -> nfs-8: 4 objects to bring",
        "nfs-2 -> nfs-8: 1 objects to bring",
        "nfs-2: the connection broke: reset; trying again in 2s",
    ]


def test_the_end_says_what_was_done_and_how_to_go_on():
    """Outcomes that did not occur are not told; a signal always is."""
    tally = Tally({Outcome.PUBLISHED: Amount(1234, 5 * 2**20), Outcome.NOT_ATTEMPTED: Amount(1, 9)})
    command = "cachemig sync old new"
    partial = events.RunEnded(ExitCode.PARTIAL, Amount(1235, 0), tally, command)
    stopped = events.RunEnded(ExitCode.INTERRUPTED, Amount(), Tally(), command)
    nothing = events.RunEnded(ExitCode.OK, Amount(), Tally())

    assert told([partial, stopped, nothing]) == (
        "1,234 published (5.0 MiB), 1 not attempted (9 B); to go on: cachemig sync old new\n"
        "interrupted; to go on: cachemig sync old new\n"
    )


def test_quiet_means_problems_only(seen):
    """On a terminal as well."""
    assert told(SYNC, Detail.QUIET) == ("nfs-2: the connection broke: reset; trying again in 2s\n")
    assert "|" not in seen(SYNC, Detail.QUIET)


def test_names_from_elsewhere_do_not_reach_the_terminal(seen):
    """Neither in lines nor in bars."""
    hostile = "x\x1b]0;owned\x07\n\u202e"
    screen = seen(
        [
            events.ObjectDone(hostile, "default", "nfs-1", Outcome.FAILED, 0, cause=hostile),
            events.ScanProgress(hostile, 1, 1),
        ]
    )

    assert "\x1b]0;" not in screen
    assert "\u202e" not in screen
    assert "\\x1b]0;owned\\x07\\n\\u202e" in screen
