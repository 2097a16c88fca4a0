"""Roots that are not what they seem: not mounted, or a level off."""

from pathlib import Path

import pytest

from cachemig.demo.sshd import Sshd
from tests.e2e.sites import Ran, Sites, contents, fill

OBJECTS = 12


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    """An old server that holds nothing, and a new one."""
    sites = Sites(tmp_path)
    sites.add("old", "nfs-1")
    sites.add("new", "nfs-9")
    sites.write()
    return sites


def caches_files(folder: Path) -> dict[str, str]:
    """What the caches below a folder hold, but for what is cachemig's own."""
    found = contents(folder / "all").items()
    return {path: digest for path, digest in found if "/.cachemig/" not in f"/{path}"}


def notices(ran: Ran) -> str:
    """All remarks of a run."""
    return "\n".join(event["text"] for event in ran.events if event["type"] == "notice")


def test_a_site_that_is_empty_at_its_first_scan_is_named(sites: Sites) -> None:
    """Nothing tells it from an export that is not mounted."""
    ran = sites.run("scan", "old")

    assert ran.code == 0
    assert "nfs-1 holds no object at all" in notices(ran)


@pytest.mark.parametrize(
    "command",
    [
        ("sync", "old", "new"),
        ("sync", "old", "new", "--dry-run"),
        ("sync", "old", "new", "--saved"),
        ("verify", "presence", "old", "new"),
        ("verify", "presence", "old", "new", "--saved"),
    ],
)
def test_an_empty_old_site_proves_nothing(sites: Sites, command: tuple[str, ...]) -> None:
    """That all of nothing is at the new site would let people go of the old one."""
    assert sites.run("scan", "old").code == 0

    ran = sites.run(*command)

    assert (ran.code, ran.error["slug"]) == (3, "scan"), ran.err.decode()
    assert ran.error["server"] == "nfs-1"
    assert ran.error["next_step"]
    assert "has everything" not in notices(ran)


def test_one_empty_server_of_several_is_named_and_the_others_are_brought(sites: Sites) -> None:
    """A server may have been added to a site a moment ago."""
    fill(sites.add("old", "nfs-2"), range(OBJECTS))

    ran = sites.sync()

    assert (ran.code, ran.counts) == (0, {"published": OBJECTS}), ran.err.decode()
    assert "nfs-1 holds no object at all" in notices(ran)
    assert "nfs-2" not in notices(ran).split("holds no object")[0]


def test_an_empty_new_site_is_no_error(sites: Sites) -> None:
    """It is empty by nature, and presence says what is missing there."""
    old = sites.servers["old"][0].root
    fill(old, range(OBJECTS))

    assert sites.run("scan", "new").code == 0
    assert sites.run("verify", "presence", "old", "new").code == 5
    assert sites.sync().code == 0
    assert contents(sites.servers["new"][0].root) == contents(old)


@pytest.mark.parametrize("command", [("scan", "old"), ("sync", "old", "new", "--dry-run")])
@pytest.mark.parametrize("native", ["", "universal"])
def test_a_root_one_level_too_high_is_asked_about(
    tmp_path: Path, command: tuple[str, ...], native: str
) -> None:
    """What lies below `sstate/` looks like objects of a native directory."""
    sites = Sites(tmp_path)
    old = sites.add("old", "nfs-1")
    sites.add("new", "nfs-9")
    fill(old / "sstate", range(OBJECTS))
    fill(old / "sstate", range(100, 100 + OBJECTS), native=native)
    sites.write()

    ran = sites.run(*command)

    assert ran.code == 0
    assert "all objects lie below sstate/" in notices(ran)
    assert "too high?" in notices(ran)


def test_a_root_one_level_too_low_is_asked_about(sites: Sites) -> None:
    """All objects of a slot lie in directories that name no slot."""
    (server,) = sites.servers["old"]
    (slot,) = {path[:2] for path in fill(server.root, [7])}
    sites.servers["old"] = [server._replace(url=str(server.root / slot))]
    sites.write()

    ran = sites.run("scan", "old")

    assert ran.code == 0
    assert "1 of 1 objects lie where no build looks for them" in notices(ran)
    assert "too low?" in notices(ran)


def test_a_root_at_its_level_is_not_asked_about(sites: Sites) -> None:
    """Though much of a cache lies in native directories, and something is misplaced."""
    (server,) = sites.servers["old"]
    fill(server.root, range(2))
    fill(server.root, range(10, 20), native="universal")
    fill(server.root / "attic" / "ff" / "ff", [30])

    ran = sites.run("scan", "old")

    assert ran.code == 0
    assert "?" not in notices(ran)


@pytest.mark.parametrize("new_root", ["cache", "cache/below", "."])
@pytest.mark.parametrize(
    "command",
    [
        ("sync", "old", "new"),
        ("sync", "old", "new", "--saved"),
        ("verify", "presence", "old", "new"),
    ],
)
def test_one_directory_under_two_addresses_is_no_two_sites(
    tmp_path: Path, sshd: Sshd, command: tuple[str, ...], new_root: str
) -> None:
    """Everything would be present, and nothing proved; or one would be copied into the other.

    The scan of the old root may see first that the new one, just locked, lies in it.
    """
    sites = Sites(tmp_path)
    (tmp_path / "all" / "cache" / "below").mkdir(parents=True)
    old = sites.add("old", "nfs-1", root=tmp_path / "all" / "cache")
    sites.add("new", "nfs-9", sshd=sshd, root=tmp_path / "all" / new_root)
    fill(old, range(OBJECTS))
    sites.write()
    assert sites.run("scan", "old").code == 0
    before = caches_files(tmp_path)

    ran = sites.run(*command)

    seen_by_scan = new_root == "cache/below" and ran.error["slug"] == "scan"
    assert (ran.code, ran.error["slug"]) == ((3, "scan") if seen_by_scan else (2, "usage"))
    told = f"{ran.error['message']} {ran.error['cause']}"
    assert ("another root" if seen_by_scan else "nfs-1 and nfs-9") in told
    assert ran.error["next_step"]
    assert caches_files(tmp_path) == before


def test_one_directory_is_no_two_new_servers(tmp_path: Path) -> None:
    """The run would wait for its own lock, and its map mean nothing."""
    sites = Sites(tmp_path)
    fill(sites.add("old", "nfs-1"), range(OBJECTS))
    root = sites.add("new", "nfs-8")
    (tmp_path / "link").symlink_to(root)
    sites.add("new", "nfs-9", root=tmp_path / "link")

    ran = sites.sync()

    assert (ran.code, ran.error["server"]) == (2, "nfs-9")
    assert "same folder" in str(ran.error)
    assert contents(root) == {}
