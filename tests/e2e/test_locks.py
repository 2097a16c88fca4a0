"""Two runs to one server, and many connections to one sshd with its default limits."""

import dataclasses
import re
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from cachemig.demo.sshd import ADDRESS, Sshd
from tests.e2e.battle import Battlefield, kill_and_wait, wait_until
from tests.e2e.sites import Sites
from tests.servers.proxy import NewProxy
from tests.servers.sshd import NewSshd

LINE_BYTES_PER_S = 120_000
LOGINS_THAT_HANG = 10
"""As many as MaxStartups lets be; from then on sshd drops 30 % of all others."""
RUNS_AT_ONCE = 4
LANES = 8
MANY_OBJECTS = 2100
"""With a siginfo for each, a batch for every lane."""


def another_controller(field: Battlefield, folder: Path) -> Battlefield:
    """The same servers, run from elsewhere: with a state of its own."""
    folder.mkdir()
    sites = dataclasses.replace(field.sites, folder=folder, servers=dict(field.sites.servers))
    sites.write()
    return dataclasses.replace(field, sites=sites)


def reach(field: Battlefield, sshd: Sshd) -> None:
    """Go to the new server by this way."""
    (server,) = field.sites.servers["new"]
    field.sites.servers["new"] = [server._replace(url=sshd.url(server.root))]
    field.sites.write()


@pytest.mark.parametrize("order", [1, -1])
def test_the_second_of_two_runs_is_told_who_holds_the_lock(
    tmp_path: Path, new_sshd: NewSshd, new_proxy: NewProxy, order: int
) -> None:
    """It touches nothing; when the first is killed, the second works at once."""
    sshd = new_sshd()
    proxy = new_proxy(sshd)
    proxy.slow_down(LINE_BYTES_PER_S)
    (tmp_path / "here").mkdir()
    one = Battlefield(Sites(tmp_path / "here"), proxy.behind(sshd))
    one.prepare()
    first, second = [one, another_controller(one, tmp_path / "there")][::order]
    reach(second, sshd)

    running = first.start()
    wait_until(first.done, "progress")
    proxy.freeze()
    refused = second.start().end()
    proxy.thaw()
    refused.check()

    assert refused.code == 9
    assert refused.error["server"] == "new-1"
    told = re.fullmatch(
        r"run (\S+), started by \S+@\S+ pid (\d+), holds it since \S+Z; its agent .*",
        refused.error["cause"],
    )
    assert told
    assert told[1] in {log.stem for log in (first.sites.state / "runs").iterdir()}
    assert int(told[2]) == running.process.pid
    assert second.receipts() == []
    assert first.pending()
    assert running.process.poll() is None
    assert kill_and_wait(running.process.pid)
    running.end()
    second.finish()


def test_of_two_runs_that_start_at_once_one_works(tmp_path: Path, new_sshd: NewSshd) -> None:
    """Also when the site has several servers: never do both give up, never do both write."""
    sshd = new_sshd()
    (tmp_path / "here").mkdir()
    one = Battlefield(Sites(tmp_path / "here"), sshd, objects=40)
    for name in ("new-2", "new-3"):
        one.sites.add("new", name, sshd=sshd)
    one.prepare()
    assert one.sites.run("shards", "init", "new").code == 0
    other = another_controller(one, tmp_path / "there")
    assert other.sites.run("shards", "init", "new").code == 0
    for _ in range(4):
        for field in (one, other):
            assert field.sites.run("scan", "old").code == 0
        runs = [field.sites.start("sync", "old", "new", "--saved") for field in (one, other)]
        codes = sorted(run.end().code for run in runs)
        assert codes in ([0, 9], [0, 0]), codes
        one.hold()
        assert one.pending() == 0
        for path in one.manifest:
            for root in one.roots:
                (root / path).unlink(missing_ok=True)


def test_many_connections_to_an_sshd_with_default_limits(
    tmp_path: Path, new_sshd: NewSshd, new_proxy: NewProxy
) -> None:
    """It drops logins beyond MaxStartups at random; that costs tries, not objects."""
    sshd = new_sshd()
    assert "MaxStartups" not in (sshd.folder / "sshd_config").read_text()
    proxy = new_proxy(sshd)
    behind = proxy.behind(sshd)
    fields = []
    for number in range(RUNS_AT_ONCE):
        (tmp_path / str(number)).mkdir()
        fields.append(Battlefield(Sites(tmp_path / str(number)), behind, objects=MANY_OBJECTS))
        fields[-1].prepare()
        fields[-1].sites.connections = LANES
        fields[-1].sites.write()

    with ExitStack() as idle:
        for _ in range(LOGINS_THAT_HANG):
            stream = idle.enter_context(socket.create_connection((ADDRESS, sshd.port), 10))
            assert stream.recv(4) == b"SSH-"
        for running in [field.start() for field in fields]:
            ran = running.end()
            ran.check()
            assert ran.code == 0, ran.err.decode()

    assert proxy.connections > RUNS_AT_ONCE * LANES
    assert "MaxStartups" in sshd.log_file.read_text(), "no login was dropped"
    for field in fields:
        assert field.pending() == 0
        field.hold()
        field.nothing_sent_twice()
