"""The demo's sites are ordinary ones, and its folder is nobody else's."""

import stat

import pytest

from cachemig.config import load
from cachemig.core.names import classify
from cachemig.core.shards import new_map
from cachemig.demo import site
from cachemig.errors import UsageError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Both sites, with a tenth of the usual number of objects."""
    folder = tmp_path_factory.mktemp("demo")
    site.write_config(folder, str)
    site.fill(folder, objects_share=0.1)
    return folder


def test_the_configuration_is_read_without_complaint(folder):
    """It is an example as well."""
    config = load(folder / "cachemig.toml")

    assert [s.name for s in config.site("old").servers] == list(site.OLD_SERVERS)
    assert {s.name: s.weight for s in config.site("new").servers} == site.NEW_SERVERS
    assert [c.placement for c in config.caches] == ["slots", "whole"]


def test_objects_lie_where_the_shard_map_of_the_old_site_says(folder):
    """`shards init old` finds the map that the site has lived by."""
    equal = dict.fromkeys(site.OLD_SERVERS, 1.0)
    for cache in site.CACHES:
        shard_map = new_map("old", cache.name, equal, cache.placement)
        for server in site.OLD_SERVERS:
            root = folder / "old" / server / cache.folder
            files = [classify(str(p.relative_to(root))) for p in root.rglob("sstate:*")]
            names = [f.name for f in files if f.name and not f.misplaced]

            assert {shard_map.owner(name.slot) for name in names} <= {server}


def test_every_old_server_has_something_and_no_new_one_has(folder):
    """The new site is bare: its servers are mounted, and empty."""
    counts = {p.name: sum(1 for f in p.rglob("*") if f.is_file()) for p in folder.glob("*/nfs-*")}

    assert all(counts[name] > 10 for name in site.OLD_SERVERS)
    assert all(counts[name] == 0 for name in site.NEW_SERVERS)


def test_modes_are_those_of_a_shared_cache(folder):
    """Group writable files and directories, the latter with the group's bit."""
    root = folder / "old" / "nfs-1" / "v95-sstate-cache"
    modes = [p.lstat().st_mode for p in root.rglob("*")]

    assert {stat.S_IMODE(m) for m in modes if stat.S_ISREG(m)} == {0o664}
    assert {stat.S_IMODE(m) for m in modes if stat.S_ISDIR(m)} == {0o2775}


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    """Only what the demo itself made is removed for a new one."""
    kept = tmp_path / "old" / "thesis.txt"
    kept.parent.mkdir()
    kept.write_text("do not lose")

    with pytest.raises(UsageError):
        site.clear(tmp_path)

    assert kept.read_text() == "do not lose"


def test_a_folder_of_an_earlier_demo_is_made_anew(tmp_path):
    """`make demo` works twice; what the reader put beside it stays."""
    site.write_config(tmp_path, str)
    site.fill(tmp_path, objects_share=0.01)
    (tmp_path / "my-notes").touch()

    site.clear(tmp_path)

    assert [p.name for p in tmp_path.iterdir()] == ["my-notes"]
    site.clear(tmp_path / "not-there-yet")
