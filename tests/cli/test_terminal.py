"""Real runs on a real terminal: nothing is printed into anything else."""

import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.sites import Sites, fill
from tests.screen import Screen

LIMIT_S = 60
COLUMNS = 100


class OnTerminal(NamedTuple):
    """A run that has ended, and what its terminal received."""

    code: int
    received: str

    @property
    def lines(self) -> list[str]:
        """What stands on the screen in the end."""
        return Screen(COLUMNS).feed(self.received).lines


def on_terminal(folder: Path, *argv: str, interrupt_at: str = "") -> OnTerminal:
    """Run the program with a terminal for all three streams; Ctrl-C once it shows a text."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, COLUMNS))
    process = subprocess.Popen(
        [sys.executable, "-m", "cachemig", *argv],
        cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    received, end_s = "", time.monotonic() + LIMIT_S
    while time.monotonic() < end_s:
        try:
            received += os.read(ours, 65_536).decode(errors="replace")
        except OSError:  # the other end is closed
            break
        if interrupt_at and re.search(interrupt_at, received):
            interrupt_at = ""
            process.send_signal(signal.SIGINT)
    os.close(ours)
    return OnTerminal(process.wait(LIMIT_S), received)


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    """Two servers on each side."""
    sites = Sites(tmp_path)
    for server, numbers in (("nfs-1", range(150)), ("nfs-2", range(150, 300))):
        fill(sites.add("old", server), numbers)
    sites.add("new", "nfs-8")
    sites.add("new", "nfs-9")
    sites.write()
    assert sites.run("shards", "init", "new").code == 0
    return sites


@pytest.mark.parametrize("command", ["scan old", "sync old new", "verify presence old new"])
def test_nothing_is_printed_into_a_bar(sites: Sites, command: str) -> None:
    """No bar is left, and each line that is left is the same as without a terminal."""
    ran = on_terminal(sites.folder, *command.split())

    assert ran.code in {0, 5}
    assert not [line for line in ran.lines if re.search(r"\||\[00:|B/s|\bleft\b(?! out)", line)]


def test_a_second_sync_has_nothing_to_send(sites: Sites) -> None:
    """A bar of bytes that never move would be a riddle."""
    assert sites.run("sync", "old", "new").code == 0

    ran = on_terminal(sites.folder, "sync", "old", "new", "--full")

    assert "objects, nothing to send" in ran.received
    assert "?B/s" not in ran.received
    assert "? left" not in ran.received
    assert ran.lines[-1].startswith("300 present (")


def test_the_command_to_go_on_stands_in_a_line_of_its_own(sites: Sites) -> None:
    """It is what one copies after Ctrl-C, which is answered at once."""
    ran = on_terminal(
        sites.folder, "sync", "old", "new", "--bwlimit", "200kbit/s", interrupt_at=r"B/s"
    )

    assert ran.code == 130
    stopping = [line for line in ran.lines if "stopping" in line]
    assert stopping == ["cachemig: stopping; press Ctrl-C again to kill"]
    assert ran.lines[-1].endswith("; to go on: cachemig sync old new --bwlimit 200kbit/s")
    assert "|" not in "".join(ran.lines)
