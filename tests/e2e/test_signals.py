"""A run that is stopped, or can not say what it did: the right code, and nothing half done."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.battle import Battlefield, alive, descendants, wait_until
from tests.e2e.sites import LIMIT_S, Sites
from tests.servers.proxy import NewProxy, Proxy
from tests.servers.sshd import NewSshd

STOP_LIMIT_S = 5.0
LINE_BYTES_PER_S = 120_000
STOPS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@pytest.fixture
def field(tmp_path: Path, new_sshd: NewSshd, new_proxy: NewProxy) -> tuple[Battlefield, Proxy]:
    """A copy over a line that takes its time."""
    sshd = new_sshd()
    proxy = new_proxy(sshd)
    proxy.slow_down(LINE_BYTES_PER_S)
    field = Battlefield(Sites(tmp_path), proxy.behind(sshd))
    field.prepare()
    return field, proxy


Field = tuple[Battlefield, Proxy]


@pytest.mark.parametrize("number", STOPS, ids=lambda number: number.name)
def test_a_signal_stops_the_run_soon(field: Field, number: signal.Signals) -> None:
    """The last line tells what was done; the same command does the rest; no process stays."""
    here, proxy = field
    running = here.start()
    wait_until(here.done, "progress")
    proxy.slow_down(LINE_BYTES_PER_S / 4)
    assert here.pending()
    children = list(descendants(running.process.pid))
    began_s = time.monotonic()
    running.process.send_signal(number)
    proxy.slow_down(0)
    ran = running.end()
    took_s = time.monotonic() - began_s

    assert ran.code == STOPS[number]
    ran.check()
    assert took_s < STOP_LIMIT_S
    counts = ran.events[-1]["counts"]
    assert counts["not_attempted"] > 0
    assert "sync old new" in ran.events[-1]["resume_command"]
    wait_until(lambda: not any(map(alive, children)), "the end of all children", 10)
    here.hold()
    here.finish()


@pytest.mark.parametrize("planned", [False, True])
def test_a_signal_stops_a_run_that_waits_for_a_dead_line(field: Field, *, planned: bool) -> None:
    """Nobody answers there; Ctrl-C must not wait for that, before the plan is made or after."""
    here, proxy = field
    proxy.freeze()
    running = here.start()
    wait_until(lambda: proxy.connections, "a login")
    if planned:
        wait_until(lambda: [*here.sites.state.glob("plans/*.parquet")], "the plan")
    began_s = time.monotonic()
    running.process.send_signal(signal.SIGINT)
    ran = running.end()

    assert ran.code == 130
    assert time.monotonic() - began_s < STOP_LIMIT_S
    ran.check()
    assert here.pending() == len(here.manifest)


def test_a_full_standard_output_is_no_success(field: Field) -> None:
    """What can not be told was not done for sure: exit 1, and copying stops."""
    here, _ = field
    with Path("/dev/full").open("wb") as full:
        assert start_into(here, full.fileno()).wait(LIMIT_S) == 1
    here.hold()
    here.finish()


def test_a_closed_standard_output_is_no_success(field: Field) -> None:
    """The reader of the pipe went away amid the work."""
    here, _ = field
    read_fd, write_fd = os.pipe()
    running = start_into(here, write_fd)
    os.close(write_fd)
    wait_until(here.done, "progress")
    os.close(read_fd)
    assert running.wait(LIMIT_S) == 1
    assert here.pending()
    here.hold()
    here.finish()


def start_into(here: Battlefield, stdout: int) -> "subprocess.Popen[bytes]":
    """Sync with --json into a file descriptor."""
    config = str(here.sites.folder / "cachemig.toml")
    return subprocess.Popen(
        [sys.executable, "-m", "cachemig", "sync", "old", "new", "--json", "--config", config],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.DEVNULL,
    )


def test_the_numbers_of_a_run_add_up(field: Field) -> None:
    """Every line of --json fits the schema, and the sums are those of the files."""
    here, proxy = field
    proxy.slow_down(0)
    ran = here.start().end()
    ran.check()

    end = ran.events[-1]
    size_bytes = sum((here.sites.folder / "old-1" / path).stat().st_size for path in here.manifest)
    assert ran.events[0]["type"] == "run_start"
    assert end["counts"]["published"] == here.objects == end["planned"]["objects"]
    assert end["bytes"]["published"] == size_bytes == end["planned"]["bytes"]
    assert sum(e["objects"] for e in ran.events if e["type"] == "objects") == here.objects
    assert len(here.receipts()) == len(here.manifest)
    again = here.finish().events[-1]
    assert again["counts"]["present"] == here.objects
