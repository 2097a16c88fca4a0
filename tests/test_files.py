"""Files of our own come back as they were written, and a damaged one is never guessed at."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachemig.config.values import Cache, Server, Site
from cachemig.core.mirrors import sstate_mirrors
from cachemig.core.shard_text import format_shard_maps, parse_shard_maps
from cachemig.core.shards import new_map
from cachemig.core.urls import ServerUrl
from cachemig.errors import FormatError, NoSpaceError, ShardMapError
from cachemig.files import (
    effective_maps,
    kept_shard_maps,
    read_shard_maps,
    shards_path,
    write_atomically,
    write_shard_maps,
)

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
fleets = st.dictionaries(
    names, st.integers(0, 9) | st.floats(1e-300, 1e300), min_size=1, max_size=4
).filter(lambda weights: any(weights.values()))
TWO = {"nfs_1": 2.0, "nfs_2": 1.0}
GOLD = """\
# Which server of site west holds which slots of which cache.
# Written by cachemig; to change it: cachemig shards rebalance west
format = "cachemig shard maps"
version = 1
site = "west"

[cache.default]
placement = "slots"

[cache.default.server.nfs-1]
weight = 0.5
slots = "00-3f 52 60-7f"

[cache.default.server.nfs-2]
weight = 1.0
slots = "40-51 53-5f 80-ff"

[cache."lmp 95"]
placement = "whole"

[cache."lmp 95".server.nfs-1]
weight = 1.0
slots = ""

[cache."lmp 95".server.nfs-2]
weight = 3.0
slots = "00-ff"
"""


def site_of(**weights: float) -> Site:
    """A site whose servers have these weights."""
    url = ServerUrl("path", "/srv/sstate")
    return Site("west", tuple(Server(name, url, weight) for name, weight in weights.items()))


@given(st.dictionaries(names, st.tuples(fleets, st.sampled_from(["slots", "whole"])), min_size=1))
def test_maps_written_and_read_again_are_the_same(drawn):
    """Whatever the names of caches and servers, and whatever floats the weights are."""
    maps = {c: new_map("west", c, weights, how) for c, (weights, how) in drawn.items()}

    assert parse_shard_maps(format_shard_maps(maps)) == maps


@given(names)
def test_a_site_of_any_name_is_read_again(site):
    """No name can break out of the comment or the string that it stands in."""
    maps = {"c": new_map(site, "c", TWO)}

    assert parse_shard_maps(format_shard_maps(maps)) == maps


def test_the_file_is_as_documented(tmp_path):
    """What docs/formats.md shows is what is written and read."""
    path = tmp_path / "west.toml"
    path.write_text(GOLD)

    maps = read_shard_maps(path)
    assert maps["default"].owner("52") == "nfs-1"
    assert set(maps["lmp 95"].owners) == {"nfs-2"}

    write_shard_maps(path, maps)
    assert path.read_text() == GOLD


def test_a_scattered_map_is_wrapped_for_the_reader():
    """No line of the file is longer than a screen is wide."""
    text = format_shard_maps({"c": new_map("west", "c", {"a": 1, "b": 1, "c": 1})})

    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(
    ("old", "new", "kind", "says"),
    [
        ("52 60-7f", "60-7f", ShardMapError, r"no server has 52 \(the table on line 7\)"),
        ("40-51", "3f-51", ShardMapError, r"slot 3f is given to nfs-1 and to nfs-2"),
        ("40-51", "40-51 44", ShardMapError, r"slot 44 is named twice \(the table on line 14\)"),
        ("52 60-7f", "52 60-7F", ShardMapError, r"'60-7F' is neither .* line 10"),
        ("weight = 0.5", "weight = -1.0", ShardMapError, "-1.0 is not a weight"),
        ("weight = 0.5", "weight = nan", ShardMapError, "nan is not a weight"),
        ('slots = ""', 'slots = "00"', ShardMapError, "slot 00 is given to nfs-1 and to nfs-2"),
        ("weight = 3.0\n", "", FormatError, r"weight: Field required \(the table on line 25\)"),
        ("weight = 0.5", 'weight = "0.5"', FormatError, "weight: Input should be a valid number"),
        ('placement = "slots"', 'placement = "slot"', FormatError, "placement: .* line 7"),
        ("weight = 0.5", "wieght = 0.5", FormatError, "line 10"),
        ('"cachemig shard maps"', '"other"', FormatError, "format"),
        ("version = 1", "version = 0", FormatError, "version"),
        ("version = 1\n", "", FormatError, "version"),
        ('site = "west"', 'site = "east"', FormatError, "about site east"),
        ('slots = ""', 'slots = "', FormatError, "at line 23"),
        ("weight = 0.5", "weight = 0.5\nweight = 0.5", FormatError, "at line 12"),
    ],
)
def test_every_fault_is_told_with_its_place_and_what_to_do(tmp_path, old, new, kind, says):
    """An operator who mends the file by hand at night is told which line."""
    path = tmp_path / "west.toml"
    assert old in GOLD
    path.write_text(GOLD.replace(old, new, 1))

    with pytest.raises(kind) as caught:
        read_shard_maps(path)

    assert caught.match("shard map")
    assert caught.value.path == str(path)
    assert caught.value.next_step
    with pytest.raises(AssertionError, match=says):
        raise AssertionError(caught.value.cause)


def test_a_newer_version_is_not_read_by_an_older_program(tmp_path):
    """Half understood is misunderstood."""
    path = tmp_path / "west.toml"
    path.write_text(GOLD.replace("version = 1", "version = 2"))

    with pytest.raises(FormatError, match="version 2, and this cachemig reads version 1"):
        read_shard_maps(path)


def test_a_missing_file_says_how_to_make_it(tmp_path):
    """The next step is a command."""
    with pytest.raises(FormatError, match="no shard maps") as caught:
        read_shard_maps(tmp_path / "west.toml")

    assert "cachemig shards init west" in caught.value.next_step


HUGE_HEX = b"0x" + b"f" * 9000


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe",
        b"",
        b"[[cache]]",
        b"cache = 1",
        b"\0",
        b"a = " + b"[" * 5000,
        b"version = " + b"1" * 5000,
        b"version = " + HUGE_HEX,
        GOLD.encode().replace(b"weight = 0.5", b"weight = " + HUGE_HEX),
        GOLD.encode() + b"#" * 1_100_000,
    ],
    ids=range(10),
)
def test_a_file_of_rubbish_is_refused(tmp_path, content):
    """Never an exception that is not ours."""
    path = tmp_path / "west.toml"
    path.write_bytes(content)

    with pytest.raises(FormatError):
        read_shard_maps(path)


def test_a_directory_in_the_place_of_the_file_is_refused(tmp_path):
    """What can not be read is not taken for absent."""
    (tmp_path / "shards" / "west.toml").mkdir(parents=True)

    with pytest.raises(FormatError, match="can not be read"):
        effective_maps(site_of(nfs_1=1), [Cache("c")], tmp_path)


@pytest.mark.parametrize(
    ("content", "cause"),
    [("a = " + "[" * 5000, "nested too deeply"), ("a = " + "1" * 5000, "too many digits")],
)
def test_what_no_parser_takes_is_told_in_words(tmp_path, content, cause):
    """Not in those of Python, which names its own functions."""
    path = tmp_path / "west.toml"
    path.write_text(content)

    with pytest.raises(FormatError) as caught:
        read_shard_maps(path)

    assert cause in caught.value.cause


@pytest.mark.parametrize("kind", ["pipe", "device", "link to nowhere"])
def test_what_is_no_file_is_refused_at_once(tmp_path, kind):
    """Reading a pipe would wait for a writer for ever; a link to nowhere is a file that is gone."""
    path = tmp_path / "west.toml"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero" if kind == "device" else "gone")

    with pytest.raises(FormatError, match="can not be read") as caught:
        kept_shard_maps(path)

    assert caught.value.path == str(path)


def test_a_site_with_one_server_needs_no_file(tmp_path):
    """There is only one way to place things."""
    maps = effective_maps(site_of(nfs_1=1), [Cache("a"), Cache("b")], tmp_path)

    assert {name: set(m.owners) for name, m in maps.items()} == {"a": {"nfs_1"}, "b": {"nfs_1"}}


def test_a_site_with_two_servers_needs_a_map_of_every_cache(tmp_path):
    """The error names the cache and the command."""
    west = site_of(nfs_1=1, nfs_2=1)
    path = shards_path(tmp_path, "west")
    write_shard_maps(path, {"a": new_map("west", "a", TWO)})

    assert set(effective_maps(west, [Cache("a")], tmp_path)) == {"a"}
    with pytest.raises(ShardMapError, match="cache b has no shard map at site west"):
        effective_maps(west, [Cache("a"), Cache("b")], tmp_path)


def test_the_kept_map_counts_until_the_next_rebalance(tmp_path):
    """A changed weight in cachemig.toml moves nothing by itself; a missing server is told."""
    kept = new_map("west", "a", TWO)
    write_shard_maps(shards_path(tmp_path, "west"), {"a": kept})
    heavier = site_of(nfs_1=9, nfs_2=1, nfs_3=1)
    smaller = site_of(nfs_1=1, nfs_3=1)

    assert effective_maps(heavier, [Cache("a")], tmp_path)["a"] == kept
    with pytest.raises(ShardMapError, match="does not have") as caught:
        effective_maps(smaller, [Cache("a")], tmp_path)
    assert caught.value.server == "nfs_2"


@pytest.mark.parametrize("mode", [0o644, 0o600])
def test_a_file_is_replaced_with_its_mode(tmp_path, mode):
    """Also below directories that are not there yet; nothing else is left."""
    path = tmp_path / "a" / "b" / "file"

    write_atomically(path, b"old")
    write_atomically(path, b"new", mode)

    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert list(path.parent.iterdir()) == [path]


def test_a_file_is_durable_before_it_has_its_name(tmp_path):
    """The order of system calls: write, sync the file, rename, sync the directory."""
    trace = tmp_path / "trace"
    script = (
        "import sys; from pathlib import Path; from cachemig.files import write_atomically;"
        "write_atomically(Path(sys.argv[1]), b'0123456789')"
    )
    watched = "trace=write,fsync,rename,renameat,renameat2"
    strace = ["strace", "-f", "-y", "-e", watched, "-o", str(trace)]
    subprocess.run(
        [*strace, sys.executable, "-c", script, str(tmp_path / "file")],
        check=True,
        timeout=60,
    )

    calls = [
        line.split(maxsplit=1)[1].split("(")[0]
        for line in trace.read_text().splitlines()
        if str(tmp_path) in line and "(" in line
    ]
    assert calls == ["write", "fsync", "rename", "fsync"]


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_a_full_disk_leaves_the_old_file(tmp_path, call):
    """The error is the one for no space (exit code 10), and no temporary file is left."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    script = (
        "import sys; from pathlib import Path; from cachemig.files import write_atomically\n"
        "from cachemig.errors import NoSpaceError\n"
        "try: write_atomically(Path(sys.argv[1]), b'new')\n"
        "except NoSpaceError as error: sys.exit(int(error.exit_code))"
    )
    fault = f"inject={call}:error=ENOSPC:when=1"
    strace = ["strace", "-f", "-o", str(tmp_path / "trace"), "-e", fault]

    ran = subprocess.run(
        [*strace, sys.executable, "-B", "-c", script, str(path)],
        check=False,
        timeout=60,
    )

    assert ran.returncode == NoSpaceError.exit_code
    assert "INJECTED" in (tmp_path / "trace").read_text()
    assert path.read_bytes() == b"old"
    assert sorted(tmp_path.iterdir()) == [path, tmp_path / "trace"]


def test_the_examples_of_the_documentation_are_true():
    """docs/formats.md shows a map and its mirror setting: both are what is written."""
    page = (Path(__file__).parents[1] / "docs" / "formats.md").read_text()
    shown = {part.split("\n", 1)[0]: part for part in page.split("\n## ")}
    map_text = shown["Shard maps"].split("```toml\n")[1].split("```")[0]
    setting = shown["Mirror settings"].split("```\n")[1]

    maps = parse_shard_maps(map_text)

    assert format_shard_maps(maps) == map_text
    urls = {server: f"http://{server}.example.com/sstate" for server in ("nfs-1", "nfs-2")}
    assert sstate_mirrors(maps["default"], urls) == setting
