"""The way of the bytes between any two servers, as the plan shows it and as it is dialled."""

from pathlib import Path
from typing import NamedTuple

import pytest

from cachemig.agent.bootstrap import BOOTSTRAP
from cachemig.config import Config, load
from cachemig.core.urls import ServerUrl
from cachemig.engine.routes import Detour, Route, route
from cachemig.errors import UsageError

CONFIG = """\
[ssh]
client = "openssh"
identity_file = "mine"
known_hosts_file = "/keys/known"
[site.old]
[[site.old.server]]
name = "folder"
url = "/srv/old"
[[site.old.server]]
name = "far"
url = "ssh://ops@nfs-1.old/srv/old"
[[site.old.server]]
name = "same"
url = "ssh://ops@nfs.both/srv/old"
[site.new]
[[site.new.server]]
name = "folder"
url = "/srv/new"
[[site.new.server]]
name = "far"
url = "ssh://ops@nfs-9.new/srv/new"
[[site.new.server]]
name = "same"
url = "ssh://ops@nfs.both/srv/new"
[[site.new.server]]
name = "root"
url = "ssh://root@nfs.both/srv/new2"
"""
NONE, VIA_HERE = Detour(), Detour(via_here=True)
ON_HOP = Detour(run_on=ServerUrl.parse_host("ssh://ops@hop.mid"))
ON_OLD = Detour(run_on=ServerUrl.parse_host("ssh://ops@nfs-1.old"))
HERE, THERE, OPENED = "here", "there", "opened"


class Gold(NamedTuple):
    """A pair and a detour; the text, and where mover, source and target are reached.

    An end that the mover opens itself is `OPENED`.
    """

    source: str
    target: str
    detour: Detour
    text: str
    mover: str
    source_end: str
    target_end: str


NEAR = "on this machine"
THROUGH = "through this machine"
OLD, NEW, BOTH, HOP = "ops@nfs-1.old", "ops@nfs-9.new", "ops@nfs.both", "ops@hop.mid"
GOLD = [
    Gold("folder", "folder", NONE, NEAR, HERE, OPENED, HERE),
    Gold("folder", "far", NONE, NEAR, HERE, OPENED, NEW),
    Gold("folder", "far", VIA_HERE, NEAR, HERE, OPENED, NEW),
    Gold("far", "folder", NONE, THROUGH, HERE, OLD, HERE),
    Gold("far", "folder", VIA_HERE, THROUGH, HERE, OLD, HERE),
    Gold("far", "far", VIA_HERE, THROUGH, HERE, OLD, NEW),
    Gold("same", "same", VIA_HERE, THROUGH, HERE, BOTH, BOTH),
    Gold("far", "far", NONE, "directly, the mover runs on far", OLD, OPENED, NEW),
    Gold("same", "same", NONE, "within same", BOTH, OPENED, THERE),
    Gold("same", "root", NONE, "directly, the mover runs on same", BOTH, OPENED, "root@nfs.both"),
    Gold("far", "far", ON_HOP, "through hop.mid, as --run-on says", HOP, OLD, NEW),
    Gold("far", "far", ON_OLD, "through nfs-1.old, as --run-on says", OLD, OPENED, NEW),
    Gold("same", "far", ON_OLD, "through nfs-1.old, as --run-on says", OLD, BOTH, NEW),
]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Servers of every kind at both sites."""
    (tmp_path / "mine").touch()
    (tmp_path / "cachemig.toml").write_text(CONFIG)
    return load(tmp_path / "cachemig.toml")


def route_of(config: Config, source: str, target: str, detour: Detour) -> Route:
    """The way from an old to a new server."""
    old, new = config.site("old"), config.site("new")
    return route(config, (old, old.server(source)), (new, new.server(target)), detour)


def led_to(argv: tuple[str, ...]) -> str:
    """Where a child process leads: here, to a bare python3 there, or by ssh."""
    if argv[0] != "ssh":
        assert argv[-2:] == ("-c", BOOTSTRAP)
        return THERE if argv[0] == "python3" else HERE
    (user,) = [word.removeprefix("User=") for word in argv if word.startswith("User=")]
    return f"{user}@{argv[argv.index('--') + 1]}"


@pytest.mark.parametrize("gold", GOLD, ids=lambda gold: f"{gold.source}-{gold.target}-{gold.mover}")
def test_the_way_between_two_servers(config: Config, gold: Gold):
    """Directly when the old server may reach the new one; what the operator says, if anything."""
    way = route_of(config, gold.source, gold.target, gold.detour)

    assert str(way) == gold.text
    assert led_to(way.mover_argv) == gold.mover
    assert led_to(way.destination.argv) == gold.target_end
    assert way.source_is_local == (gold.source_end == OPENED)
    assert gold.source_end in (OPENED, led_to(way.source.argv))
    assert way.source.root == config.site("old").server(gold.source).url.path
    assert way.destination.root == config.site("new").server(gold.target).url.path


@pytest.mark.parametrize(("source", "target"), [("folder", "far"), ("far", "folder")])
def test_run_on_needs_servers_that_the_host_can_reach(config: Config, source: str, target: str):
    """A folder of this machine is none; the error names the server."""
    with pytest.raises(UsageError, match="--run-on") as caught:
        route_of(config, source, target, ON_HOP)

    assert caught.value.server == "folder"
    assert caught.value.next_step


@pytest.mark.parametrize(("source", "detour"), [("far", NONE), ("far", ON_HOP), ("far", ON_OLD)])
def test_our_keys_stay_here(config: Config, source: str, detour: Detour):
    """What one server dials at another uses that server's own keys; host keys stay strict."""
    way = route_of(config, source, "far", detour)

    assert "IdentityFile=" in " ".join(way.mover_argv)
    for argv in (way.destination.argv, *(() if way.source_is_local else (way.source.argv,))):
        words = " ".join(argv)
        assert "/keys/" not in words
        assert "StrictHostKeyChecking=yes" in words
        assert "BatchMode=yes" in words
