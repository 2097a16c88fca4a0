"""A root that is not mounted is not filled, and nor is another one in its place."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachemig.agent.protocol import OWN_DIRECTORY
from cachemig.core.events import ServerProblem
from cachemig.engine.roots import known_roots, other_root, remember_roots, roots_path
from cachemig.errors import AccessError
from tests.cache_files import OLD_NS, archive, contents, object_path, put
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
    """When that is said, once."""
    bare = emptied(sites, "x")

    sites.sync(full=True)
    filled = contents(bare)
    sites.sync()

    assert filled.keys() >= sites.expected()["x"].keys()
    assert contents(bare) == filled


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
