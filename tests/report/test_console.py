"""What people see: progress on a terminal only, problems always."""

import os
import pty
import termios
import threading
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest

from cachemig.agent.protocol import Outcome
from cachemig.core import events
from cachemig.core.outcomes import Amount, Tally
from cachemig.errors import ExitCode
from cachemig.report.console import Console, Detail
from cachemig.report.minutes import MinuteLines
from tests.screen import Screen

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
            console.clear()
        reader.join(timeout=30)
        os.close(ours)
        return received.decode()

    return show


def told(shown, detail=Detail.NORMAL, log_path=None):
    """Show events to something that is no terminal."""
    stream = StringIO()
    console = Console(stream, detail)
    console.log_path = log_path
    for event in shown:
        console.tell(event)
    console.clear()
    return stream.getvalue()


def test_a_terminal_sees_objects_bytes_and_time_left_for_each_pair_and_in_all(seen):
    """Nothing of it stays on the screen; what was told meanwhile does."""
    screen = seen(SYNC)

    assert "nfs-1 -> nfs-8 |" in screen
    assert "2.00M/4.00M" in screen
    assert "in all |" in screen
    assert "3.00M/5.00M" in screen
    assert "3/5 objects" in screen
    assert "left" in screen
    assert Screen().feed(screen).lines == ["nfs-2: the connection broke: reset; trying again in 2s"]


def test_what_is_there_already_is_not_shown_as_bytes_to_send(seen):
    """A bar of bytes that never move would be a riddle."""
    there = events.ObjectsCounted("nfs-1", "nfs-8", Outcome.PRESENT, 4, 4 * 2**20)
    screen = seen([SYNC[0], there, events.SyncProgress("nfs-1", "nfs-8", 4, 0)])

    assert "in all, 4/4 objects, nothing to send" in screen
    assert "?" not in screen


def test_scans_and_checks_are_seen_by_server(seen):
    """A scan does not know its end; a check does."""
    screen = seen(
        [events.ScanProgress("nfs-1", 12, 3456), events.CheckProgress("nfs-8", 50, 10**6, 200)]
    )

    assert "nfs-1: 12 directories, 3456 files read" in screen
    assert "50/200 files" in screen


def test_one_pair_needs_one_bar(seen):
    """The sum of one is itself."""
    assert "nfs-1 -> nfs-8 |" not in seen([SYNC[0], SYNC[2]])


def test_a_log_gets_one_line_a_minute():
    """However many events there are; none before the first minute is over."""
    now_s = 1000.0
    minutes = MinuteLines(lambda: now_s)
    told: list[str] = []
    for event in SYNC[:2] + [SYNC[2], SYNC[4]] * 8:
        told += minutes.lines(event)
        now_s += 10

    line = "3 of 5 objects done, 3.0 MiB of 5.0 MiB sent"
    assert told == [line, line]


def test_a_log_is_told_of_scans_and_checks_by_server():
    """Each server's last word; a scan that is over is not told while a sync goes on."""
    now_s = 0.0
    minutes = MinuteLines(lambda: now_s)
    scans = [events.ScanProgress(name, 12, 3456) for name in ("nfs-1", "nfs-2")]
    assert [line for event in scans for line in minutes.lines(event)] == []
    now_s = 61.0

    assert list(minutes.lines(scans[0])) == [str(scan) for scan in scans]
    now_s = 122.0
    assert list(minutes.lines(SYNC[0])) == []


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


ENDED = events.RunEnded(ExitCode.PARTIAL, Amount(), Tally.of(Outcome.FAILED))


def lost(number, cause, source="nfs-1", server="nfs-9"):
    """An object that ended badly."""
    path = f"ab/{number:02x}/sstate:zlib-{number}"
    return events.ObjectDone(path, "default", server, Outcome.FAILED, 0, source, cause=cause)


def test_a_full_disk_is_told_by_its_first_objects_and_the_number_of_the_rest():
    """Whichever server they came from; a reader who is short of time sees the cause at the end."""
    log = Path("/state/runs/7.jsonl")
    full = [lost(n, "No space left on device", f"nfs-{n % 3}") for n in range(1234)]

    lines = told([*full, ENDED], log_path=log).splitlines()

    assert lines[:20] == [str(event) for event in full[:20]]
    assert lines[20:] == [
        f"… and 1,214 more like these: failed for nfs-9: No space left on device; see {log}",
        str(ENDED),
    ]


def test_objects_are_alike_by_outcome_server_and_cause_whatever_their_names():
    """A kind that is short is told whole; no log, no word of one."""
    blocked = [lost(n, f"there already: sstate:zlib-{n}.sig is no file") for n in range(21)]
    elsewhere = [lost(n, "No space left on device", server="nfs-8") for n in range(20)]
    at_source = {"outcome": Outcome.DAMAGED, "damaged_at": "source"}
    damaged = [replace(lost(n, "is empty"), **at_source) for n in range(22)]

    lines = told([*blocked, *elsewhere, *damaged, ENDED]).splitlines()

    assert len(lines) == 3 * 20 + 3
    assert lines[-3:-1] == [
        "… and 1 more like these: failed for nfs-9: there already: ….sig is no file",
        "… and 2 more like these: damaged on nfs-1: is empty",
    ]


def test_causes_without_end_are_counted_as_one():
    """A server that invents a new cause for each object fills neither memory nor screen."""
    lines = told([*(lost(n, f"reason {n:x}") for n in range(1000)), ENDED]).splitlines()

    assert len(lines) == 100 + 20 + 2
    assert lines[-2] == "… and 880 more like these: failed for nfs-9: other causes"


def test_quiet_means_problems_only(seen):
    """On a terminal as well."""
    assert told(SYNC, Detail.QUIET) == ("nfs-2: the connection broke: reset; trying again in 2s\n")
    assert "|" not in seen(SYNC, Detail.QUIET)
    assert not told([*(lost(n, "is empty") for n in range(30)), ENDED], Detail.QUIET)


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
