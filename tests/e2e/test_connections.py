"""Connections that break, freeze or never come back: bounded time, the right code, no lock left."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cachemig.demo.sshd import Sshd
from tests.e2e.battle import Battlefield, descendants, is_agent, kill_and_wait, wait_until
from tests.e2e.sites import Ran, Running, Sites
from tests.servers.proxy import NewProxy, Proxy
from tests.servers.sshd import NewSshd

SILENCE_LIMIT_S = 6
END_LIMIT_S = 80.0
"""For a server that does not come back: the silence, then a few vain logins."""
LINE_BYTES_PER_S = 200_000
both_clients = pytest.mark.parametrize("client", ["openssh", "paramiko"])


class Line(Battlefield):
    """A copy whose destination is behind a proxy."""

    def __init__(self, folder: Path, sshd: Sshd, proxy: Proxy) -> None:
        super().__init__(Sites(folder), proxy.behind(sshd))
        self.proxy = proxy
        self.direct = sshd
        self.prepare()

    def use(self, client: str) -> None:
        """Name the ssh client, and be impatient."""
        self.sites.ssh |= {"client": client, "silence_limit": f"{SILENCE_LIMIT_S}s"}
        self.sites.write()

    def go_round(self) -> None:
        """Reach the server past the proxy from now on."""
        (server,) = self.sites.servers["new"]
        direct = server._replace(url=self.direct.url(server.root))
        self.sites.servers["new"] = [direct]
        self.sites.write()

    def end(self, running: Running, codes: set[int], within_s: float = END_LIMIT_S) -> Ran:
        """Wait for the end of a run, which must come in time and as expected."""
        began_s = time.monotonic()
        ran = running.end()
        self.hold()
        ran.check()
        assert ran.code in codes, ran.err.decode()
        assert time.monotonic() - began_s < within_s
        if ran.code:
            assert "new-1" in ran.error["server"], ran.err.decode()
            assert ran.error["next_step"]
            assert ran.error["cause"]
        return ran

    def start_and_wait(self) -> Running:
        """Start a sync, and come back when some of it is there and some is not."""
        running = self.start()
        wait_until(self.done, "progress")
        assert self.pending()
        return running


@pytest.fixture
def line(tmp_path: Path, new_sshd: NewSshd, new_proxy: NewProxy) -> Line:
    """A line that takes its time."""
    sshd = new_sshd()
    proxy = new_proxy(sshd)
    proxy.slow_down(LINE_BYTES_PER_S)
    made = Line(tmp_path, sshd, proxy)
    made.use("openssh")
    return made


@pytest.mark.parametrize("size_bytes", [0, 1, 25, 900, 2500, 12_000, 40_000, 150_000, 300_000])
def test_one_reset_connection_is_made_again(line: Line, size_bytes: int) -> None:
    """Whenever it breaks: at the greeting, in the login, in the first batch, later."""
    line.proxy.reset_each_after(size_bytes)

    line.end(line.start(), {0})

    assert line.proxy.resets == 1
    assert line.pending() == 0
    line.finish()


@both_clients
def test_all_connections_reset_at_once_are_made_again(line: Line, client: str) -> None:
    """As when a firewall forgets them: the run goes on where it was."""
    line.use(client)
    running = line.start_and_wait()
    done = line.done()
    assert line.proxy.reset_all() >= 2

    line.end(running, {0})

    assert done < len(line.manifest)
    assert line.pending() == 0
    line.finish()


@both_clients
@pytest.mark.parametrize("size_bytes", [0, 2500, 30_000])
def test_a_line_that_always_breaks_is_given_up(line: Line, client: str, size_bytes: int) -> None:
    """Not tried for ever; the same command finishes the work once the line is whole."""
    line.use(client)
    line.proxy.reset_each_after(size_bytes, connections=10_000)

    line.end(line.start(), {7})
    assert line.proxy.resets > 1
    line.proxy.reset_each_after(0, connections=0)

    line.finish()


@both_clients
def test_a_server_that_goes_down_amid_the_work(line: Line, client: str) -> None:
    """Connections are reset, new ones refused: exit 7, and the rest at the next run."""
    line.use(client)
    running = line.start_and_wait()
    line.proxy.refuse()
    line.proxy.reset_all()

    line.end(running, {7})

    assert line.pending()
    line.go_round()
    line.finish()


@both_clients
def test_a_frozen_line_is_given_up(line: Line, client: str) -> None:
    """Half-open connections: nobody says anything, nothing is refused."""
    line.use(client)
    running = line.start_and_wait()
    line.proxy.freeze()

    line.end(running, {7})

    line.go_round()
    line.finish()


def test_a_line_that_thaws_in_time_is_kept(line: Line) -> None:
    """A short blackout costs nothing but the time."""
    running = line.start_and_wait()
    line.proxy.freeze()
    time.sleep(SILENCE_LIMIT_S / 3)
    line.proxy.thaw()

    ran = line.end(running, {0})

    assert not [event for event in ran.events if event["type"] == "server_problem"]
    line.finish()


def test_a_line_that_thaws_late_is_made_anew(line: Line) -> None:
    """What was in the frozen line is not mixed into what is sent again."""
    running = line.start_and_wait()
    line.proxy.freeze()
    time.sleep(SILENCE_LIMIT_S + 1)
    line.proxy.thaw()

    line.end(running, {0})

    assert line.pending() == 0
    line.finish()


def test_a_lock_outlives_a_lost_controller_by_no_more_than_two_limits(line: Line) -> None:
    """Killed behind a frozen line: the far agent hears nothing, and lets go by itself."""
    running = line.start_and_wait()
    line.proxy.freeze()
    line.go_round()
    assert kill_and_wait(running.process.pid)
    running.end()

    first = line.start().end()
    began_s = time.monotonic()
    assert first.code == 9, "the far agent was expected to hold the lock still"
    wait_until(lambda: not line.agents(), "the end of the far agents", 3 * SILENCE_LIMIT_S)

    line.finish()
    assert time.monotonic() - began_s < 4 * SILENCE_LIMIT_S


@contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    """SIGSTOP processes, and let them go on in the end."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with_signal(pid, signal.SIGCONT)


def with_signal(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may have gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def test_one_frozen_far_agent_costs_one_lane(line: Line) -> None:
    """The session still answers; only silence of the agent itself tells. Later it wakes."""
    running = line.start_and_wait()
    victim = line.writers()[0]
    with stopped([victim]):
        line.end(running, {0})
        assert line.pending() == 0

    line.finish()


def test_a_frozen_session_costs_one_lane(line: Line) -> None:
    """The sshd process of one connection stops, and later goes on."""
    running = line.start_and_wait()
    victim = line.writers()[0]
    session = int(Path(f"/proc/{victim}/stat").read_text().rpartition(")")[2].split()[1])
    with stopped([session]):
        line.end(running, {0})

    line.finish()


def test_a_frozen_server_is_given_up(line: Line) -> None:
    """Its kernel still accepts connections, and nobody speaks."""
    running = line.start_and_wait()
    with stopped([line.direct.listener.pid, *line.direct.session_pids()]):
        line.end(running, {7})
    wait_until(lambda: not line.agents(), "the end of the far agents", 3 * SILENCE_LIMIT_S)

    line.finish()


def test_a_frozen_mover_is_made_anew(line: Line) -> None:
    """The process that carries the bytes, here on this machine."""
    running = line.start_and_wait()
    movers = [pid for pid in descendants(running.process.pid) if is_agent(pid)]
    with stopped(movers[:1]):
        line.end(running, {0})

    assert movers
    line.finish()
