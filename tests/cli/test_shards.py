"""`cachemig shards`: what it prints is what it keeps, and it replaces nothing unasked."""

import json
from pathlib import Path

import pytest

from cachemig.cli.app import main
from cachemig.core.shards import new_map, rebalance
from cachemig.files import read_shard_maps

CONFIG = """
[site.west]
[[site.west.server]]
name = "nfs-1"
url = "/srv/1"
weight = 2.0
[[site.west.server]]
name = "nfs-2"
url = "/srv/2"
[site.one]
[[site.one.server]]
name = "nfs-9"
url = "/srv/9"
[cache.lmp]
path = "v95"
[cache.acme]
path = "acme"
placement = "whole"
"""
WEIGHTS = {"nfs-1": 2.0, "nfs-2": 1.0}
URLS = ["--base-url", "nfs-1=http://a.example.com/s/", "--base-url", "nfs-2=file:///mnt/b"]


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A working directory with a cachemig.toml."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cachemig.toml").write_text(CONFIG)
    return tmp_path


@pytest.fixture
def map_file(project) -> Path:
    """Where the shard maps of the site west are kept."""
    return Path(project, ".cachemig", "shards", "west.toml")


def rows(capfd, table: str) -> list[dict[str, object]]:
    """The rows of a table that --json printed."""
    events = map(json.loads, capfd.readouterr().out.splitlines())
    return [event["values"] for event in events if event.get("table") == table]


def test_init_makes_a_map_of_every_cache(map_file, capfd):
    """By the weights and placements of cachemig.toml; what is printed is what is kept."""
    assert main(["shards", "init", "west", "--json"]) == 0

    kept = read_shard_maps(map_file)
    assert kept == {
        "lmp": new_map("west", "lmp", WEIGHTS),
        "acme": new_map("west", "acme", WEIGHTS, "whole"),
    }
    assert [(r["cache"], r["server"], r["slots"]) for r in rows(capfd, "shards")][:2] == [
        ("lmp", "nfs-1", 171),
        ("lmp", "nfs-2", 85),
    ]


def test_init_replaces_no_map(project, map_file, capfd):
    """A second init changes nothing and names the next step; a new cache is added."""
    assert main(["shards", "init", "west"]) == 0
    before = map_file.read_bytes()

    assert main(["shards", "init", "west"]) == 2
    assert map_file.read_bytes() == before
    assert "cachemig shards rebalance west" in capfd.readouterr().err

    changed = CONFIG.replace("weight = 2.0", "weight = 9.0") + '[cache.new]\npath = "new"\n'
    (project / "cachemig.toml").write_text(changed)
    assert main(["shards", "init", "west"]) == 0
    kept = read_shard_maps(map_file)
    assert set(kept) == {"lmp", "acme", "new"}
    assert kept["lmp"] == new_map("west", "lmp", WEIGHTS)


@pytest.mark.parametrize("words", [["init", "west"], ["rebalance", "west", "--drain", "nfs-1"]])
def test_a_dry_run_writes_nothing(map_file, capfd, words):
    """It prints what would be done."""
    if words[0] == "rebalance":
        assert main(["shards", "init", "west"]) == 0
    before = map_file.read_bytes() if map_file.exists() else b""

    assert main(["shards", *words, "--dry-run"]) == 0

    assert (map_file.read_bytes() if map_file.exists() else b"") == before
    assert "nothing was written" in capfd.readouterr().err


def test_rebalance_drains_a_server(map_file, capfd):
    """Every slot of it is told with its new server, and the map is kept."""
    main(["shards", "init", "west"])
    before = read_shard_maps(map_file)
    capfd.readouterr()

    assert main(["shards", "rebalance", "west", "--drain", "nfs-1", "--json"]) == 0

    assert [(r["cache"], r["source"], r["target"], r["slots"]) for r in rows(capfd, "moves")] == [
        ("lmp", "nfs-1", "nfs-2", 171),
        ("acme", "nfs-1", "nfs-2", 256),
    ]
    assert read_shard_maps(map_file) == {
        name: rebalance(old, {"nfs-1": 0.0, "nfs-2": 1.0}) for name, old in before.items()
    }


def test_show_says_when_cachemig_toml_has_changed_since(project, capfd):
    """A changed weight moves nothing by itself, but it does not go unnoticed."""
    main(["shards", "init", "west"])
    assert main(["shards", "show", "west"]) == 0
    assert "would move" not in capfd.readouterr().err

    (project / "cachemig.toml").write_text(CONFIG.replace("weight = 2.0", "weight = 1.0"))

    assert main(["shards", "show", "west"]) == 0
    assert "`cachemig shards rebalance west` would move 43 slots" in capfd.readouterr().err


def test_a_server_taken_out_of_cachemig_toml_is_named(project, capfd):
    """The map still gives it slots: nothing may go on as if they were nobody's."""
    main(["shards", "init", "west"])
    (project / "cachemig.toml").write_text(CONFIG.replace('"nfs-2"', '"nfs-3"'))

    assert main(["shards", "show", "west"]) == 2
    assert "nfs-2" in capfd.readouterr().err
    assert main(["shards", "rebalance", "west"]) == 0
    assert main(["shards", "show", "west"]) == 0


def test_a_site_with_one_server_needs_no_map(capfd):
    """It is shown and rendered without a file."""
    assert main(["shards", "show", "one"]) == 0
    assert "00-ff" in capfd.readouterr().out
    words = ["render", "mirrors", "one", "--cache", "lmp", "--base-url", "nfs-9=http://a/s"]
    assert main(["shards", *words]) == 0
    assert "sstate:.* http://a/s/v95/PATH;downloadfilename=PATH" in capfd.readouterr().out


def test_mirrors_are_rendered_below_the_folder_of_the_cache(capfd):
    """A base URL is of a server's root; the setting is all that is printed."""
    main(["shards", "init", "west"])
    capfd.readouterr()

    assert main(["shards", "render", "mirrors", "west", "--cache", "lmp", *URLS]) == 0

    printed = capfd.readouterr().out
    assert printed.startswith("# Cache lmp of site west.\nSSTATE_MIRRORS = ")
    assert "http://a.example.com/s/v95/PATH;downloadfilename=PATH" in printed
    assert "file:///mnt/b/v95/PATH \\" in printed


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["render", "mirrors", "west", *URLS], "--cache, one of: lmp, acme"),
        (["render", "mirrors", "west", "--cache", "lmp", *URLS, *URLS[:2]], "second time"),
        (["render", "mirrors", "west", "--cache", "lmp", "--base-url", "nfs-1"], "NAME=URL"),
        (["render", "mirrors", "west", "--cache", "lmp", *URLS[:2]], "--base-url nfs-2=URL"),
        (["render", "exports", "west", *URLS], "exports"),
        (["rebalance", "west", "--drain", "nfs-7"], "nfs-7"),
        (["rebalance", "one"], "cachemig shards init one"),
        (["show", "wets"], 'did you mean "west"'),
    ],
)
def test_what_can_not_be_done_says_what_can(capfd, words, says):
    """Exit code 2, and the next step."""
    main(["shards", "init", "west"])
    capfd.readouterr()

    assert main(["shards", *words]) == 2
    assert says in capfd.readouterr().err


def test_a_site_without_map_says_how_to_make_one(capfd):
    """Two servers, no map: nobody guesses."""
    assert main(["shards", "show", "west"]) == 2
    assert "cachemig shards init west" in capfd.readouterr().err
