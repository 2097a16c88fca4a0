"""A root that is not mounted is not filled, and nor is another one in its place."""

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachemig.agent.protocol import OWN_DIRECTORY
from cachemig.core.events import ServerProblem
from cachemig.core.pair import Pair
from cachemig.engine.destinations import Destinations
from cachemig.engine.lanes import Lanes
from cachemig.engine.roots import known_roots, other_root, remember_roots, roots_path
from cachemig.engine.routes import Detour, all_routes
from cachemig.errors import AccessError
from tests.cache_files import OLD_NS, archive, contents, object_path, put
from tests.e2e.battle import descendants, wait_until
from tests.engine.sites import Sites

ids = st.dictionaries(st.sampled_from("xyz"), st.sampled_from(["", "a1", "b2"]))


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    """Sites between which everything was brought once, and more that came since."""
    made = Sites(tmp_path)
    made.fill()
    made.sync()
    for number in range(900, 940):
        put(made.root("a"), object_path("v94", number), archive(number, 400), OLD_NS + number)
    return made


def emptied(sites: Sites, server: str, *, other: bool = False) -> Path:
    """Take a root away, as a file system that is not mounted; or put another's in its place."""
    root = sites.root(server)
    root.rename(root.with_name(f"{server}-away"))
    root.mkdir()
    if other:
        put(root, f"{OWN_DIRECTORY}/root-id", b"0" * 16)
    return root


@pytest.mark.parametrize("other", [False, True])
def test_a_root_that_is_another_one_gets_nothing(sites: Sites, *, other: bool) -> None:
    """However often it is tried; the other server gets its part."""
    bare = emptied(sites, "x", other=other)
    served = len(contents(sites.root("y")))

    for _ in range(2):
        with pytest.raises(AccessError, match="not the one that earlier runs wrote to") as refused:
            sites.sync()
        assert refused.value.server == "x"
        assert not contents(bare)

    assert len(contents(sites.root("y"))) > served
    assert any(isinstance(event, ServerProblem) and event.server == "x" for event in sites.told)


def test_a_root_that_was_emptied_on_purpose_is_filled_again(sites: Sites) -> None:
    """When that is said, once; to ask about every name does not say so."""
    bare = emptied(sites, "x")
    with pytest.raises(AccessError, match="not the one"):
        sites.sync(full=True)
    assert not contents(bare)

    sites.sync(allow_empty=True)
    filled = contents(bare)
    sites.sync()

    assert filled.keys() >= sites.expected()["x"].keys()
    assert contents(bare) == filled


def test_no_server_left_is_no_server_served(sites: Sites) -> None:
    """Nobody is told that the others go on."""
    for server in "xy":
        emptied(sites, server)

    with pytest.raises(AccessError, match="not the one"):
        sites.sync()

    assert not [event for event in sites.told if isinstance(event, ServerProblem)]


def test_a_server_that_comes_back_without_its_file_system_is_not_asked(sites: Sites) -> None:
    """After a reboot sshd may be up before the mount."""
    before = set(descendants(os.getpid()))
    new_site = sites.config.site("new")
    with closing(Destinations(sites.config, new_site, "again", sites.told.append)) as new:
        held = new.stores(["x"]).stores["x"]
        assert held.stat(["v94"]) != [None]
        emptied(sites, "x")
        for agent in set(descendants(os.getpid())) - before:
            os.kill(agent, signal.SIGKILL)

        with pytest.raises(AccessError, match="not the one") as refused:
            held.stat(["v94"])

        assert refused.value.server == "x"


def test_a_run_does_not_go_on_into_a_bare_mount_point(sites: Sites) -> None:
    """A lane that broke is made again, and finds another root than the run had locked."""
    for number in range(900, 940):
        put(sites.root("a"), object_path("v94", number), archive(number, 10**5), OLD_NS + number)
    known = contents(sites.root("x")).keys()
    before = set(descendants(os.getpid()))
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(sites.sync, full=True, cap=3e5)
        wait_until(lambda: contents(sites.root("x")).keys() > known, "a first new object", 30)
        bare = emptied(sites, "x")
        for agent in set(descendants(os.getpid())) - before:
            with suppress(ProcessLookupError):
                os.kill(agent, signal.SIGKILL)

        with pytest.raises(AccessError, match="not the one"):
            running.result(60)

    assert not contents(bare)


@pytest.mark.parametrize("is_early", [False, True])
def test_no_lane_leads_to_another_root_than_the_one_that_is_held(
    sites: Sites, *, is_early: bool
) -> None:
    """Also none that logged in before it was held; one to a root without an id was before that."""
    pair = Pair("a", "x")
    ends = sites.config.site("old"), sites.config.site("new")
    routes = all_routes(sites.config, *ends, Detour())
    with closing(Lanes(sites.config, ends, routes, "again")) as lanes:
        lanes.log_in_early(2 * is_early)
        lanes.expect({"x": "0" * 16})
        with pytest.raises(AccessError, match="not the one"):
            lanes.open(pair)
        lanes.expect(known_roots(roots_path(sites.config.state_dir, "new")))
        lanes.open(pair).close()


@given(found=ids, known=ids)
def test_a_root_is_another_one_exactly_when_its_id_is_another(
    found: dict[str, str], known: dict[str, str]
) -> None:
    """And of what was never seen nothing is expected."""
    for server, found_id in found.items():
        refused = other_root(server, found_id, known)
        assert (refused is not None) == (server in known and known[server] != found_id)


@given(runs=st.lists(ids, max_size=4))
def test_the_last_id_of_each_server_is_remembered(
    tmp_path_factory: pytest.TempPathFactory, runs: list[dict[str, str]]
) -> None:
    """Also of those that a run had nothing to do with."""
    path = roots_path(tmp_path_factory.mktemp("state"), "new")
    expected: dict[str, str] = {}
    for found in runs:
        remember_roots(path, found)
        expected |= {server: word for server, word in found.items() if word}

    assert known_roots(path) == expected


@pytest.mark.parametrize("text", ["", "[]", "{", json.dumps({"x": 1})])
def test_what_can_not_be_read_is_not_known(tmp_path: Path, text: str) -> None:
    """It only keeps a wrong root from being noticed; a copy is never kept back by it."""
    path = tmp_path / "new.json"
    path.write_text(text)
    assert known_roots(path) == {}
