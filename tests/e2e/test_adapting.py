"""The number of lanes follows what the line gives."""

import re

import pytest

from tests.e2e.battle import fill_few_slots, wait_until
from tests.e2e.sites import Sites
from tests.servers.proxy import NewProxy, Proxy
from tests.servers.sshd import NewSshd

OBJECTS = 6000
SLOW_BYTES_PER_S = 60_000
LANES = 2


@pytest.fixture
def line(tmp_path, new_sshd: NewSshd, new_proxy: NewProxy) -> tuple[Sites, Proxy]:
    """Many small objects, and a slow line to the new server."""
    sshd = new_sshd()
    proxy = new_proxy(sshd)
    sites = Sites(tmp_path)
    sites.connections = LANES
    fill_few_slots(sites.add("old", "old-1"), range(OBJECTS))
    sites.add("new", "new-1", sshd=proxy.behind(sshd))
    sites.write()
    proxy.slow_down(SLOW_BYTES_PER_S)
    return sites, proxy


def lanes(sites: Sites) -> set[int]:
    """How many were open at once, whenever that was told so far."""
    told = b"".join(sites.logs())
    return {int(count) for count in re.findall(rb'"connections": ?(\d+)', told)}


def test_a_run_that_takes_long_tries_more_lanes(line):
    """It begins with the configured number, and adds to it when there is much to do."""
    sites, proxy = line
    running = sites.start("sync", "old", "new")
    wait_until(lambda: max(lanes(sites), default=0) > LANES, "one more lane", limit_s=60)
    proxy.slow_down(0)
    ran = running.end()
    assert (ran.code, ran.counts) == (0, {"published": OBJECTS}), ran.err.decode()


def test_under_a_cap_the_number_stays(line):
    """More lanes would only divide the same bytes."""
    sites, proxy = line
    proxy.slow_down(0)
    ran = sites.sync("--bwlimit", "8Mbit/s")
    assert (ran.code, ran.counts) == (0, {"published": OBJECTS}), ran.err.decode()
    assert LANES in lanes(sites)
    assert max(lanes(sites)) == LANES
