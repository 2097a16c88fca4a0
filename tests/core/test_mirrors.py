"""bitbake's own fetcher asks exactly the server that the map says, for the very same path."""

import re
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachemig.core.mirrors import slots_expression, sstate_mirrors
from cachemig.core.shards import SLOTS, ShardMap, new_map
from cachemig.errors import UsageError
from tests.real_lists import paths_of

GOLD = Path(__file__).parents[1] / "gold" / "sstate-mirrors.conf"
NATIVES = ["", "universal/", "debian-12/", "ubuntu-22.04/", "distro/9.1/"]
NEW = {"a": "http://a.example.com/sstate", "b": "https://b.example.com:8443", "c": "file:///mnt/c/"}
OLD = {"x": "http://x.example.com/old", "y": "file:///mnt/y"}
NEIGHBOURS = ("a",) * 64 + ("b",) * 2 + ("c",) * 190
MAPS = {
    "scattered": new_map("west", "lmp-95", {"a": 2.0, "b": 1.0, "c": 1.0}),
    "neighbours": ShardMap("west", "lmp-95", "slots", dict.fromkeys("abc", 1.0), NEIGHBOURS),
    "one slot": ShardMap("west", "lmp-95", "slots", {"a": 1, "b": 255}, ("a", *["b"] * 255)),
    "whole": new_map("west", "lmp-95", {"a": 1.0}, "whole"),
}


@cache
def bitbake():
    """Import bitbake; its PyPI edition lacks the hash server, which nothing here calls."""
    for absent in ("hashserv", "hashserv.client"):
        sys.modules.setdefault(absent, ModuleType(absent))
    import bb
    import bb.data
    import bb.fetch2
    import bb.parse.parse_py.ConfHandler

    return bb


@pytest.fixture
def asked(tmp_path):
    """Ask bitbake which URLs it would try for each path, in order, with these settings."""
    bb = bitbake()
    data = bb.data.init()
    for name in ("DL_DIR", "SSTATE_DIR", "PERSISTENT_DIR", "TOPDIR"):
        data.setVar(name, str(tmp_path))

    def urls(paths: Sequence[str], *settings: str) -> list[list[str]]:
        mirrors = []
        for setting in settings:
            conf = tmp_path / "site.conf"
            conf.write_text(setting)
            bb.parse.parse_py.ConfHandler.handle(str(conf), data, True)
            mirrors += bb.fetch2.mirror_from_string(data.getVar("SSTATE_MIRRORS"))
        fetches = [bb.fetch2.FetchData(f"file://{path}", data) for path in paths]
        tried = [bb.fetch2.build_mirroruris(fetch, mirrors, data)[0] for fetch in fetches]
        return [[unquote(url) for url in found] for found in tried]

    return urls


def wanted_url(base: str, path: str) -> str:
    """What the mirror should be asked for a path."""
    tail = "" if base.startswith("file:") else f";downloadfilename={path}"
    return f"{base.rstrip('/')}/{path}{tail}"


def sample_paths() -> list[str]:
    """One archive for every slot and native directory; the second level is another slot."""
    name = "sstate:gtk+3:t:1.0+git~rc1:r0:a:14"
    return [
        f"{native}{slot}/{other}/{name}:{slot}{other}{'0' * 60}_package.tar.zst"
        for native in NATIVES
        for slot, other in zip(SLOTS, reversed(SLOTS), strict=True)
    ]


@pytest.mark.parametrize("shard_map", MAPS.values(), ids=MAPS)
def test_every_object_is_asked_of_its_server_alone(asked, shard_map):
    """For all 256 slots in every native directory, and with the path unchanged."""
    bases = {server: NEW[server] for server in shard_map.weights}
    paths = sample_paths()

    found = asked(paths, sstate_mirrors(shard_map, bases))

    assert len(paths) == 256 * len(NATIVES)
    for path, urls in zip(paths, found, strict=True):
        slot = path.split("/sstate:")[0][-5:-3]
        assert urls == [wanted_url(bases[shard_map.owner(slot)], path)]


def test_what_real_builds_want_is_asked_of_one_server(asked):
    """Every path of two real builds, companions too."""
    real = paths_of("rig-all-cache") + paths_of("core-image-minimal-wanted")

    found = asked(real, sstate_mirrors(MAPS["scattered"], NEW))

    for path, urls in zip(real, found, strict=True):
        slot = path.split("/sstate:")[0][-5:-3]
        assert urls == [wanted_url(NEW[MAPS["scattered"].owner(slot)], path)]


def test_an_old_site_as_second_mirror_is_asked_second_and_once(asked):
    """What a file:// mirror produced is not rewritten by the lines that follow."""
    old_map = new_map("east", "lmp-95", {"x": 1.0, "y": 1.0})
    new_map_ = MAPS["scattered"]
    paths = sample_paths()

    found = asked(paths, sstate_mirrors(new_map_, NEW), sstate_mirrors(old_map, OLD))

    for path, urls in zip(paths, found, strict=True):
        slot = path.split("/sstate:")[0][-5:-3]
        assert urls == [
            wanted_url(NEW[new_map_.owner(slot)], path),
            wanted_url(OLD[old_map.owner(slot)], path),
        ]


@pytest.mark.parametrize("path", ["zlib-1.3.1.tar.xz", "3f/a1/other", "3f/sstate:x", "defconfig"])
def test_other_files_are_not_asked_of_the_mirrors(asked, path):
    """The lines are for shared state in the layout since dunfell, and for nothing else."""
    assert asked([path], sstate_mirrors(MAPS["scattered"], NEW)) == [[]]


def test_the_urls_reach_the_hosts_they_name(asked):
    """The port and the directory of a base URL are kept."""
    urls = asked(sample_paths(), sstate_mirrors(MAPS["scattered"], NEW))

    hosts = {(urlsplit(url).scheme, urlsplit(url).netloc) for found in urls for url in found}
    assert hosts == {("http", "a.example.com"), ("https", "b.example.com:8443"), ("file", "")}


@given(st.sets(st.sampled_from(SLOTS), min_size=1))
def test_an_expression_matches_its_slots_and_no_others(slots):
    """Whatever the set."""
    expression = re.compile(slots_expression(slots))

    assert {slot for slot in SLOTS if expression.fullmatch(slot)} == slots


@pytest.mark.parametrize(
    ("slots", "expression"),
    [
        (SLOTS, "[0-9a-f][0-9a-f]"),
        (SLOTS[:64], "[0-3][0-9a-f]"),
        (("3f",), "3f"),
        ((*SLOTS[:64], "52", *SLOTS[0x58:0x5C]), "([0-3][0-9a-f]|5[289ab])"),
        (("08", "18", "19"), "(08|1[89])"),
    ],
)
def test_expressions_are_short_enough_to_be_read(slots, expression):
    """First digits with the same second digits are taken together."""
    assert slots_expression(slots) == expression


def test_the_setting_is_as_it_was():
    """Builders have it in their configuration; a change is made knowingly."""
    assert sstate_mirrors(MAPS["neighbours"], NEW) == GOLD.read_text()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://a/sstate", "no http"),
        ("a.example.com", "no http"),
        ("http://", "no http"),
        ("file://relative", "no http"),
        ("", "no http"),
        ("http://ci:secret@a/sstate", "netrc"),
        ("http://a/ss tate", "meaning of its own"),
        ("http://a/x;y=z", "meaning of its own"),
        ("http://a/${HOME}", "meaning of its own"),
        ('http://a/"', "meaning of its own"),
        ("http://a/\\1", "meaning of its own"),
        ("http://a/\n", "meaning of its own"),
        ("http://a/\u202e", "meaning of its own"),
        ("http://a/PATH", "replaces the word PATH"),
        ("http://a/HOSTS", "replaces the word HOST"),
    ],
)
def test_a_url_that_bitbake_would_misread_is_refused(url, says):
    """Rather than a setting that silently finds nothing."""
    with pytest.raises(UsageError, match=says) as caught:
        sstate_mirrors(MAPS["whole"], {"a": url})

    assert caught.value.server == "a"
    assert "secret" not in str(caught.value)


def test_every_server_with_slots_needs_a_url_and_no_other_may_have_one():
    """A forgotten or misspelt server would be a hole in the cache."""
    with pytest.raises(UsageError, match="nobody said") as caught:
        sstate_mirrors(MAPS["scattered"], {"a": NEW["a"], "b": NEW["b"]})
    assert caught.value.server == "c"
    with pytest.raises(UsageError, match="no server 'nfs-1'"):
        sstate_mirrors(MAPS["whole"], {"a": NEW["a"], "nfs-1": NEW["b"]})
