"""One server of several is dead: what the others can do is done, and the dead one is named."""

import fcntl
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cachemig.demo.sshd import ADDRESS, Sshd
from tests.e2e.sites import Ran, Sites, contents, fill
from tests.servers.sshd import NewSshd

OBJECTS = 60


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    """One old server and two new ones, all of them folders of this machine."""
    sites = Sites(tmp_path)
    fill(sites.add("old", "nfs-1"), range(OBJECTS))
    sites.add("new", "nfs-8")
    sites.add("new", "nfs-9")
    return sites


def deaden(sites: Sites, name: str, sshd: Sshd) -> Path:
    """Give a server an address at which nothing listens; returns its root."""
    sites.log_in_at(sshd)
    for servers in sites.servers.values():
        for at, server in enumerate(servers):
            if server.name == name:
                url = f"ssh://{sshd.user}@{ADDRESS}:{free_port()}{server.root}"
                servers[at] = server._replace(url=url)
                return server.root
    raise LookupError(name)


def free_port() -> int:
    """A port at which nothing listens."""
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        return int(probe.getsockname()[1])


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock as another run does."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("another run")
        file.flush()
        yield


@pytest.mark.parametrize("dead", ["nfs-8", "nfs-9"])
@pytest.mark.parametrize("trouble", ["wrong port", "missing root"])
def test_a_new_server_out_of_reach_keeps_no_other_from_its_part(
    sites: Sites, sshd: Sshd, dead: str, trouble: str
) -> None:
    """Exit 7 at the end; its objects were not attempted, and the next run brings them."""
    roots = {server.name: server.root for server in sites.servers["new"]}
    mended = list(sites.servers["new"])
    if trouble == "wrong port":
        deaden(sites, dead, sshd)
    shutil.rmtree(roots[dead])

    ran = sites.sync()

    assert (ran.code, ran.error["server"]) == (7, dead), ran.err.decode()
    assert set(ran.counts) == {"published", "not_attempted"}
    assert sum(ran.counts.values()) == OBJECTS
    (alive,) = roots.keys() - {dead}
    assert len(contents(roots[alive])) == 2 * ran.counts["published"]
    told = [event for event in ran.events if event["type"] == "server_problem"]
    assert [event["server"] for event in told] == [dead]
    roots[dead].mkdir()
    sites.servers["new"] = mended
    assert sites.sync().counts == {
        "present": ran.counts["published"],
        "published": ran.counts["not_attempted"],
    }


def test_when_all_new_servers_are_out_of_reach_nothing_is_done(sites: Sites) -> None:
    """Exit 7, as with a single server."""
    for server in sites.servers["new"]:
        server.root.rmdir()

    ran = sites.sync()

    assert (ran.code, ran.counts) == (7, {"not_attempted": OBJECTS}), ran.err.decode()
    assert ran.error["next_step"]


def test_of_the_servers_left_the_first_decides_between_two_runs(
    sites: Sites, tmp_path: Path
) -> None:
    """The site's first server is gone: still a lock that is held stops a run as a whole."""
    third = sites.add("new", "nfs-10")
    sites.servers["new"][0].root.rmdir()
    holder = tmp_path / "nfs-9" / ".cachemig"
    holder.mkdir()
    with locked(holder / "lock"):
        ran = sites.sync()

    assert (ran.code, ran.error["server"]) == (9, "nfs-9"), ran.err.decode()
    assert contents(third) == {}


@pytest.fixture
def half_dark(tmp_path: Path, sshd: Sshd) -> Sites:
    """Two old servers that were scanned, and the first of them has died since."""
    sites = Sites(tmp_path, connections=8)
    fill(sites.add("old", "nfs-1"), range(OBJECTS))
    fill(sites.add("old", "nfs-2"), range(100, 100 + OBJECTS))
    sites.add("new", "nfs-9")
    sites.write()
    assert sites.run("scan", "old").code == 0
    deaden(sites, "nfs-1", sshd)
    sites.write()
    return sites


@pytest.mark.parametrize(
    "command", [("scan", "old"), ("sync", "old", "new"), ("sync", "old", "new", "--dry-run")]
)
def test_a_dead_old_server_is_named_with_what_there_is_to_go_by(
    half_dark: Sites, command: tuple[str, ...]
) -> None:
    """Who must go on tonight is told how, and how old that is."""
    ran = half_dark.run(*command)

    assert (ran.code, ran.error["server"]) == (7, "nfs-1"), ran.err.decode()
    assert "a scan reads all servers of old or counts none" in ran.error["next_step"]
    assert "--saved" in ran.error["next_step"]
    assert " ago was kept" in ran.error["next_step"]


@pytest.mark.parametrize(
    "command",
    [
        ("verify", "presence", "older", "old"),
        ("verify", "integrity", "old"),
        ("quarantine", "old"),
    ],
)
def test_where_saved_does_not_help_nobody_is_sent_to_it(
    half_dark: Sites, command: tuple[str, ...]
) -> None:
    """What is to be proved of a site is asked of that site today."""
    half_dark.servers["older"] = []
    fill(half_dark.add("older", "nfs-0"), range(1))
    half_dark.write()
    half_dark.run("shards", "init", "old")

    ran = half_dark.run(*command)

    assert (ran.code, ran.error["server"]) == (7, "nfs-1"), ran.err.decode()
    assert "--saved" not in ran.error["next_step"]


def test_of_a_site_with_one_server_nothing_else_can_be_brought(sites: Sites, sshd: Sshd) -> None:
    """No other server holds anything."""
    sites.write()
    assert sites.run("scan", "old").code == 0
    deaden(sites, "nfs-1", sshd)

    ran = sites.sync()

    assert "ago was kept" in ran.error["next_step"]
    assert "--saved" not in ran.error["next_step"]


def test_without_an_inventory_nobody_is_sent_to_one(half_dark: Sites) -> None:
    """There is nothing to go by yet."""
    (half_dark.state / "inventories" / "old.parquet").unlink()

    ran = half_dark.run("scan", "old")

    assert ran.code == 7
    assert "--saved" not in ran.error["next_step"]


def test_the_living_old_servers_are_brought_and_the_dead_one_is_told_once(
    half_dark: Sites,
) -> None:
    """By the saved inventory, in seconds, without a line for each attempt of each lane."""
    began_s = time.monotonic()

    ran = half_dark.run("sync", "old", "new", "--saved")

    assert (ran.code, ran.error["server"]) == (7, "nfs-1"), ran.err.decode()
    assert ran.counts == {"published": OBJECTS, "not_attempted": OBJECTS}
    assert time.monotonic() - began_s < 30
    told = [event for event in ran.events if event["type"] == "server_problem"]
    assert len(told) <= 1, told


def test_of_two_copies_that_of_a_living_server_is_brought(half_dark: Sites) -> None:
    """What both old servers held does not wait for the dead one, though it was the newer copy."""
    old = {server.name: server for server in half_dark.servers["old"]}
    both = range(200, 200 + OBJECTS)
    for path in fill(old["nfs-2"].root, both):
        os.utime(old["nfs-2"].root / path, (1_600_000_000, 1_600_000_000))
    fill(old["nfs-1"].root, both)
    living = [server._replace(url=str(server.root)) for server in old.values()]
    half_dark.servers["old"], dead = living, half_dark.servers["old"]
    half_dark.write()
    assert half_dark.run("scan", "old", "--full").code == 0
    half_dark.servers["old"] = dead
    half_dark.write()

    ran = half_dark.run("sync", "old", "new", "--saved")

    assert (ran.code, ran.error["server"]) == (7, "nfs-1"), ran.err.decode()
    assert ran.counts == {"published": 2 * OBJECTS, "not_attempted": OBJECTS}


@pytest.fixture
def half_proved(sites: Sites, sshd: Sshd) -> Sites:
    """Two new servers that everything was brought to, and one of them has died since."""
    assert sites.sync().code == 0
    assert sites.run("scan", "new").code == 0
    deaden(sites, "nfs-8", sshd)
    sites.write()
    return sites


def checked(ran: Ran) -> dict[str, dict[str, Any]]:
    """The result of `verify integrity` for each server."""
    rows = [e["values"] for e in ran.events if e["type"] == "row" and e["table"] == "integrity"]
    return {row.pop("server"): row for row in rows}


def problems(ran: Ran) -> list[str]:
    """The servers whose trouble was told."""
    return [event["server"] for event in ran.events if event["type"] == "server_problem"]


def files_of(sites: Sites, name: str) -> int:
    """How many files lie at a new server."""
    (root,) = [server.root for server in sites.servers["new"] if server.name == name]
    return len(contents(root))


def test_the_living_servers_are_proved_and_the_dead_one_is_named(half_proved: Sites) -> None:
    """Nothing of the dead one counts as checked, and the inventory of both is kept."""
    kept = (half_proved.state / "inventories" / "new.parquet").read_bytes()

    ran = half_proved.run("verify", "integrity", "new")

    assert (ran.code, ran.error["server"]) == (7, "nfs-8"), ran.err.decode()
    assert problems(ran) == ["nfs-8"]
    found = checked(ran)
    assert (found["nfs-9"]["checked"], found["nfs-8"]["checked"]) == ("all", "none")
    assert found["nfs-9"]["whole"] == files_of(half_proved, "nfs-9") > 0
    assert set(found["nfs-8"].values()) == {"none", 0}
    assert "nfs-8: nothing of it was checked" in ran.err.decode()
    assert (half_proved.state / "inventories" / "new.parquet").read_bytes() == kept


def test_damage_on_a_living_server_outweighs_a_dead_one(half_proved: Sites) -> None:
    """The worst that was found is the exit code, and both are told."""
    (living,) = [s.root for s in half_proved.servers["new"] if s.name == "nfs-9"]
    rotten = living / next(iter(contents(living)))
    rotten.chmod(0o664)
    rotten.write_bytes(b"x" * rotten.stat().st_size)

    ran = half_proved.run("verify", "integrity", "new")

    assert (ran.code, ran.error["server"]) == (6, "nfs-8"), ran.err.decode()
    assert checked(ran)["nfs-9"]["differs"] == 1


def test_a_site_of_which_no_server_answers_is_not_proved(half_proved: Sites, sshd: Sshd) -> None:
    """There is no table then that could be taken for a result."""
    deaden(half_proved, "nfs-9", sshd)
    half_proved.write()

    ran = half_proved.run("verify", "integrity", "new")

    assert (ran.code, checked(ran)) == (7, {}), ran.err.decode()


def test_a_server_that_does_not_prove_who_it_is_keeps_no_other_unproved(
    sites: Sites, new_sshd: NewSshd
) -> None:
    """Nothing is sent to it; exit code 8, which is worse than 7."""
    assert sites.sync().code == 0
    stranger = new_sshd()
    sites.log_in_at(stranger)
    (sites.folder / "known_hosts").write_text("")
    sites.servers["new"][0] = sites.servers["new"][0]._replace(
        url=stranger.url(sites.servers["new"][0].root)
    )
    sites.write()

    ran = sites.run("verify", "integrity", "new")

    assert (ran.code, ran.error["server"]) == (8, "nfs-8"), ran.err.decode()
    assert checked(ran)["nfs-9"]["whole"] == files_of(sites, "nfs-9") > 0
    assert checked(ran)["nfs-8"]["checked"] == "none"
