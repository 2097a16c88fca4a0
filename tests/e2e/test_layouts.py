"""Any layout moves: paths and ssh on either side, several servers and caches, nested folders."""

from pathlib import Path

import pytest

from cachemig.demo.sshd import start
from tests.e2e import oracle
from tests.e2e.sites import Sites, contents, fill, temps

CACHES = {"lmp-95": "v95/sstate-cache", "lmp-73": "v73/sstate-cache", "flat": "flat"}


@pytest.fixture(scope="module")
def two_sshds(tmp_path_factory, oldest_python):
    """A host for each site."""
    pair = [start(tmp_path_factory.mktemp("sshd"), python=oldest_python) for _ in range(2)]
    yield pair
    for server in pair:
        server.stop()


def roots(sites: Sites, site: str) -> list[Path]:
    """Where the files of a site's servers lie."""
    return [server.root for server in sites.servers[site]]


@pytest.mark.parametrize(
    ("old", "new", "options", "way"),
    [
        ("path", "path", [], "on this machine"),
        ("path", "ssh", [], "on this machine"),
        ("ssh", "path", [], "through this machine"),
        ("ssh", "ssh", [], "directly, the mover runs on nfs-1"),
        ("ssh", "ssh", ["--via-here"], "through this machine"),
        ("ssh", "ssh", ["--ssh-client", "paramiko"], "directly, the mover runs on nfs-1"),
        ("ssh", "same host", [], "within nfs-1"),
    ],
)
def test_every_way_between_two_servers_brings_the_same(old, new, options, way, two_sshds, tmp_path):
    """The plan says which way the bytes take, and they arrive with their times."""
    near, far = two_sshds
    hosts = {"path": None, "ssh": far, "same host": near}
    sites = Sites(tmp_path)
    source = sites.add("old", "nfs-1", sshd=near if old == "ssh" else None)
    sites.add("new", "nfs-9", sshd=hosts[new])
    fill(source, range(20))

    ran = sites.sync(*options)

    assert (ran.code, ran.counts) == (0, {"published": 20}), ran.err.decode()
    assert f"nfs-1 -> nfs-9: the bytes go {way}" in ran.err.decode()
    assert sites.arrived() == contents(source)
    (target,) = roots(sites, "new")
    for path in contents(target):
        assert (target / path).stat().st_mtime_ns == (source / path).stat().st_mtime_ns


def test_several_servers_and_caches_change_their_maps(two_sshds, tmp_path):
    """Each object goes from where it is to where the new map of its cache wants it."""
    near, far = two_sshds
    sites = Sites(tmp_path, caches=CACHES)
    for number in (1, 2, 3):
        sites.add("old", f"nfs-{number}", sshd=near if number > 1 else None)
    sites.add("new", "nfs-8", sshd=far, weight=3.0)
    sites.add("new", "nfs-9")
    for index, folder in enumerate(CACHES.values()):
        for number, root in enumerate(roots(sites, "old")):
            first = 1000 * index + 100 * number
            fill(root / folder, range(first, first + 20), native="universal" if index else "")
    source = {
        path: digest for root in roots(sites, "old") for path, digest in contents(root).items()
    }

    ran = sites.sync()

    assert (ran.code, ran.counts) == (0, {"published": 180}), ran.err.decode()
    assert sites.arrived() == source
    assert oracle.faults(source, roots(sites, "new")) == []
    assert sites.run("verify", "presence", "old", "new").code == 0
    assert sites.sync().counts == {"present": 180}
    assert not [temp for root in roots(sites, "new") for temp in temps(root)]
