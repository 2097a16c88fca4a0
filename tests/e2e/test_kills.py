"""kill -9 of cachemig, of agents and of ssh at random moments: more than 200 in all.

A moment is random in time: while the program starts, logs in, asks, sends, and waits for
the disk. CACHEMIG_TEST_SEED repeats the draws of a failed test.
"""

import contextlib
import random
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.battle import (
    Battlefield,
    Blow,
    alive,
    blow,
    descendants,
    is_ssh,
    new_seed,
    run_id_of,
    wait_until,
)
from tests.e2e.sites import Running, Sites
from tests.servers.proxy import NewProxy
from tests.servers.sshd import NewSshd

FIELDS = 4
KILLS_OF_PROGRAM = 60
KILLS_OF_AGENTS = 75
KILLS_OF_SSH = 75
LINE_BYTES_PER_S = 150_000
TIMED_SHARE = 0.4
AFTER_A_BLOW = {0, 3, 7}


@pytest.fixture
def fields(tmp_path: Path, new_sshd: NewSshd, new_proxy: NewProxy) -> list[Battlefield]:
    """Several copies that go on at the same time, over lines that take their time."""
    made = []
    for number in range(FIELDS):
        folder = tmp_path / f"field-{number}"
        folder.mkdir()
        sshd = new_sshd()
        proxy = new_proxy(sshd)
        proxy.slow_down(LINE_BYTES_PER_S)
        made.append(Battlefield(Sites(folder), proxy.behind(sshd)))
        made[-1].prepare()
    return made


@pytest.mark.timeout(900)
def test_kills_of_the_program(fields: list[Battlefield]) -> None:
    """Whenever it dies, what is there is whole, and the same command finishes the rest."""
    rng = random.Random(new_seed())
    seeds = [rng.randrange(2**32) for _ in fields]
    share = -(-KILLS_OF_PROGRAM // FIELDS)
    with ThreadPoolExecutor(FIELDS) as pool:
        blows = [b for got in pool.map(kill_programs, fields, seeds, [share] * FIELDS) for b in got]

    judge(blows, KILLS_OF_PROGRAM)


def kill_programs(field: Battlefield, seed: int, wanted: int) -> list[Blow]:
    """Kill run after run of one copy; when it is complete, what arrived is taken away."""
    rng = random.Random(seed)
    began_s = time.monotonic()
    assert field.start().end().code == 0
    whole_s = time.monotonic() - began_s
    clear(field)
    blows: list[Blow] = []
    while sum(b.hit for b in blows) < wanted:
        running = field.start()
        wait_for_a_moment(field, running, rng, whole_s)
        if alive(running.process.pid):
            blows.append(blow(field, running.process.pid, run_id_of(field.sites)))
        code = running.end().code
        assert code in {0, 9, -signal.SIGKILL}
        field.hold()
        if code == 0:
            clear(field)
    field.finish()
    return blows


def wait_for_a_moment(
    field: Battlefield, running: Running, rng: random.Random, whole_s: float
) -> None:
    """Let a run go on for a random time, or until a random part is done and a bit longer."""
    if rng.random() < TIMED_SHARE:
        wait_s = rng.uniform(0.0, whole_s)
    else:
        part = rng.randrange(len(field.manifest) * 3 // 4)
        wait_for_progress(field, running, part)
        wait_s = rng.uniform(0.0, 0.2)
    with contextlib.suppress(subprocess.TimeoutExpired):
        running.process.wait(wait_s)


def wait_for_progress(field: Battlefield, running: Running, files: int) -> None:
    """Wait until more than so many files are there, or the run has ended."""
    wait_until(lambda: field.done() > files or not alive(running.process.pid), "progress", 120)


def clear(field: Battlefield) -> None:
    """Begin anew: the destination, and what is known of it, as they were at first."""
    field.nothing_sent_twice()
    for path in field.manifest:
        (field.roots[0] / path).unlink(missing_ok=True)
    for folder in (field.roots[0] / ".cachemig" / "receipts", field.sites.state / "receipts"):
        for file in folder.glob("*.jsonl"):
            file.unlink()


@pytest.mark.timeout(900)
def test_kills_of_far_agents(fields: list[Battlefield]) -> None:
    """The run goes on by itself, or ends naming the server; then a re-run finishes."""
    kill_parts(fields, KILLS_OF_AGENTS, far_agents)


@pytest.mark.timeout(900)
def test_kills_of_ssh_clients(fields: list[Battlefield]) -> None:
    """As with far agents: a lane is only a connection."""
    kill_parts(fields, KILLS_OF_SSH, ssh_clients)


Victims = Callable[[Battlefield, int], list[int]]


def far_agents(field: Battlefield, _pid: int) -> list[int]:
    """Agents on the new server."""
    return field.agents()


def ssh_clients(_field: Battlefield, pid: int) -> list[int]:
    """Connections of this run."""
    return [child for child in descendants(pid) if is_ssh(child)]


def kill_parts(fields: Sequence[Battlefield], wanted: int, victims: Victims) -> None:
    """Share the kills out over copies that run at the same time, then judge them."""
    rng = random.Random(new_seed())
    share = -(-wanted // len(fields))
    jobs = [(field, rng.randrange(2**32), share, victims) for field in fields]
    with ThreadPoolExecutor(len(fields)) as pool:
        blows = [b for got in pool.map(lambda job: kill_parts_of(*job), jobs) for b in got]

    judge(blows, wanted)


def kill_parts_of(field: Battlefield, seed: int, wanted: int, victims: Victims) -> list[Blow]:
    """Hit the parts of one run after the other, until there were enough blows."""
    rng = random.Random(seed)
    blows: list[Blow] = []
    while sum(b.hit for b in blows) < wanted:
        running = field.start()
        if rng.random() > TIMED_SHARE:
            wait_for_progress(field, running, 0)
        while alive(running.process.pid):
            try:
                running.process.wait(rng.uniform(0.0, 2.0))
            except subprocess.TimeoutExpired:
                found = victims(field, running.process.pid)
                if found and sum(b.hit for b in blows) < wanted:
                    blows.append(blow(field, rng.choice(found), run_id_of(field.sites)))
            field.hold()
        ran = running.end()
        ran.check()
        assert ran.code in AFTER_A_BLOW, ran.err.decode()
        if ran.code:
            assert "new-1" in ran.error["server"], ran.err.decode()
        field.finish()
        clear(field)
    return blows


def judge(blows: Sequence[Blow], wanted: int) -> None:
    """Enough of them must have hit, and many in the middle of work (G9)."""
    hits = [b for b in blows if b.hit]
    amid = [b for b in hits if b.amid_work]
    in_run = [b for b in amid if b.acknowledged]
    print(f"{len(hits)} kills, {len(amid)} amid the work, {len(in_run)} after receipts of that run")
    assert len(hits) >= wanted
    assert len(amid) >= wanted // 6
    assert in_run
