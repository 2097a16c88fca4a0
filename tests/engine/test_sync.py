"""A whole site is brought to another: each object to the server that its map names, as it was."""

import os
import time
from contextlib import closing
from pathlib import Path

import pytest

from cachemig.agent.protocol import OWN_DIRECTORY, Outcome
from cachemig.agent.root import OwnFiles
from cachemig.agent.tree import Tree
from cachemig.catalog.inventory import inventory_path, open_inventory
from cachemig.catalog.receipts import open_receipts
from cachemig.core.events import ObjectDone, ObjectsCounted, SyncPlanned
from cachemig.core.outcomes import Tally
from cachemig.core.urls import ServerUrl
from cachemig.demo.sshd import Sshd
from cachemig.engine.destinations import Destinations
from cachemig.engine.routes import Detour
from cachemig.errors import LockedError
from tests.cache_files import OLD_NS, archive, contents, object_path, put, sha256
from tests.engine.sites import FOLDERS, OBJECTS, WEIGHTS, Sites, amounts


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    """Filled sites, nothing brought yet."""
    made = Sites(tmp_path)
    made.fill()
    return made


def states(root: Path) -> dict[str, tuple[int, int, int]]:
    """Mode, size and time of everything below a root but our own notes.

    Those of a destination may still change: its agents end a moment after the run.
    """
    paths = [path for path in sorted(root.rglob("*")) if OWN_DIRECTORY not in path.parts]
    found = [(path, path.lstat()) for path in paths]
    return {str(p.relative_to(root)): (s.st_mode, s.st_size, s.st_mtime_ns) for p, s in found}


def test_every_object_arrives_where_its_map_says(sites: Sites):
    """With its bytes and time, on one server, and strays stay behind."""
    tally = sites.sync()

    assert amounts(tally) == {"published": 2 * OBJECTS}
    for server, files in sites.expected().items():
        assert files, "both servers must have their part"
        assert contents(sites.root(server)) == files
        for path in files:
            old = next(p for name in "abc" if (p := sites.root(name) / path).exists())
            assert (sites.root(server) / path).stat().st_mtime_ns == old.stat().st_mtime_ns


def test_the_source_is_left_as_it_was(sites: Sites):
    """Names, bytes, modes and times; nothing of ours is written there."""
    before = {
        server: (states(sites.root(server)), contents(sites.root(server))) for server in "abc"
    }

    sites.sync()

    assert not any((sites.root(server) / OWN_DIRECTORY).exists() for server in "abc")
    assert before == {
        server: (states(sites.root(server)), contents(sites.root(server))) for server in "abc"
    }


def test_receipts_are_what_an_independent_digest_says(sites: Sites):
    """At the destination and in the state: one for each file that came, and no other."""
    sites.sync()
    expected = {
        (server, path): sha256(content)
        for server, files in sites.expected().items()
        for path, content in files.items()
    }

    at_roots = [
        (server, receipt["path"], receipt["sha256"])
        for server in WEIGHTS
        for receipt in OwnFiles(Tree(str(sites.root(server)))).receipts()
    ]
    old = open_inventory(inventory_path(sites.config.state_dir, "old"))
    with open_receipts(sites.config.state_dir, "new", {}) as book:
        kept = [
            (s, file.path, file.sha256) for s in WEIGHTS for file in book.audit(old, FOLDERS, s)
        ]

    assert len(at_roots) == len(kept) == len(expected)
    for receipts in (at_roots, kept):
        assert {(server, path): digest for server, path, digest in receipts} == expected


def test_a_second_run_brings_nothing_and_a_third_the_rest(sites: Sites):
    """What is there is not sent again; what is new or was removed is."""
    sites.sync()
    before = {server: states(sites.root(server)) for server in WEIGHTS}

    assert amounts(sites.sync()) == {"present": 2 * OBJECTS}
    assert before == {server: states(sites.root(server)) for server in WEIGHTS}

    lost = next(path for path in sites.expected()["x"] if path.endswith(".zst"))
    (sites.root("x") / lost).unlink()
    put(sites.root("c"), object_path("v94", 1000), archive(1000))
    assert amounts(sites.sync(full=True)) == {"published": 2, "present": 2 * OBJECTS - 1}
    assert lost in contents(sites.root("x"))


def test_a_hit_at_the_old_site_moves_the_time_at_the_new_one_forward(sites: Sites):
    """Else the new site's cleaner removes the hottest first; times never move back."""
    sites.sync()
    hot, cold = object_path("v94", 1), object_path("v94", 2)
    server = {path: s for s, files in sites.expected().items() for path in files}
    for root in "abc":
        if (sites.root(root) / hot).exists():
            os.utime(sites.root(root) / hot, ns=(OLD_NS + 10**13, OLD_NS + 10**13))
    newer = OLD_NS + 2 * 10**13
    os.utime(sites.root(server[cold]) / cold, ns=(newer, newer))

    assert amounts(sites.sync(full=True)) == {"present": 2 * OBJECTS}

    assert (sites.root(server[hot]) / hot).stat().st_mtime_ns == OLD_NS + 10**13
    assert (sites.root(server[cold]) / cold).stat().st_mtime_ns == newer


def test_what_lies_there_already_is_judged_and_kept(sites: Sites):
    """A whole archive of other bytes is foreign, a broken one damaged, a lone companion joined."""
    server = {path: s for s, files in sites.expected().items() for path in files}
    foreign, damaged, joined = (object_path("v94", number) for number in (1, 3, 7))
    put(sites.root(server[foreign]), foreign, archive(77, 5000))
    put(sites.root(server[damaged]), damaged, archive(78, 5000)[:-1])
    put(sites.root(server[joined]), joined, archive(7, 400))

    tally = sites.sync()

    assert amounts(tally) == {"foreign": 1, "damaged": 1, "published": 2 * OBJECTS - 2}
    told = [event for event in sites.told if isinstance(event, ObjectDone)]
    assert [(event.outcome, event.path) for event in told] == [(Outcome.DAMAGED, damaged)]
    assert "there" in told[0].cause
    assert (sites.root(server[foreign]) / foreign).read_bytes() == archive(77, 5000)
    assert (sites.root(server[damaged]) / damaged).read_bytes() == archive(78, 5000)[:-1]
    assert (sites.root(server[joined]) / f"{joined}.siginfo").exists()


def test_an_archive_that_the_scan_saw_broken_is_named_with_its_server(sites: Sites):
    """It stays behind, and nobody has to search for it."""
    path = object_path("v94", 500)
    put(sites.root("b"), path, b"")

    assert amounts(sites.sync()) == {"published": 2 * OBJECTS}

    told = [event for event in sites.told if isinstance(event, ObjectDone)]
    assert [(e.outcome, e.source, e.path, e.cause) for e in told] == [
        (Outcome.DAMAGED, "b", path, "empty")
    ]
    planned = [event for event in sites.told if isinstance(event, SyncPlanned)]
    assert sum(event.objects for event in planned) == 2 * OBJECTS + 1


def test_what_is_told_adds_up_to_the_tally(sites: Sites):
    """Whoever adds up the events of a run knows its end."""
    tally = sites.sync()

    told = Tally()
    for event in sites.told:
        if isinstance(event, ObjectsCounted):
            told += Tally.of(event.outcome, event.objects, event.size_bytes)
        elif isinstance(event, ObjectDone):
            told += Tally.of(event.outcome, 1, event.size_bytes)
    assert {o: told[o] for o in Outcome} == {o: tally[o] for o in Outcome}


def test_two_runs_to_one_site_do_not_meet(sites: Sites):
    """The second is told who is there, and touches nothing."""
    new = sites.config.site("new")
    with closing(Destinations(sites.config, new, "first", sites.told.append)) as first:
        first.stores(["x", "y"])
        with pytest.raises(LockedError) as caught:
            sites.sync()
        assert "first" in caught.value.cause
        assert contents(sites.root("x")) == contents(sites.root("y")) == {}
    assert amounts(sites.sync()) == {"published": 2 * OBJECTS}


def test_a_cap_is_kept_by_all_lanes_together(sites: Sites):
    """All pairs send at once, and are no faster for it."""
    for number in range(6):
        put(
            sites.root("abc"[number % 3]), object_path("v94", 2000 + number), archive(number, 10**6)
        )
    total_bytes = sum(len(c) for s in "abc" for c in contents(sites.root(s)).values())
    cap = 4_000_000.0

    started = time.monotonic()
    sites.sync(cap=cap)

    assert time.monotonic() - started > 0.8 * total_bytes / cap
    assert len(contents(sites.root("x")) | contents(sites.root("y"))) > OBJECTS


def reach_by(sites: Sites, sshd: Sshd) -> None:
    """Put the same folders behind a real sshd."""
    sites.urls = sshd.url
    config = sites.folder / "ssh_config"
    config.write_text(
        f"IdentityFile {sshd.identity_file}\nUserKnownHostsFile {sshd.known_hosts_file}\n"
    )
    sites.ssh = (
        f'[ssh]\nclient = "openssh"\nidentity_file = "{sshd.identity_file}"\n'
        f'known_hosts_file = "{sshd.known_hosts_file}"\ndirect_config_file = "{config}"\n'
    )


@pytest.mark.parametrize("way", ["within", "via-here", "run-on"])
def test_every_way_brings_the_same(sites: Sites, sshd: Sshd, way: str):
    """The bytes may pass the old server, this machine or a third host."""
    host = ServerUrl.parse_host(sshd.url(""))
    detour = {
        "within": Detour(),
        "via-here": Detour(via_here=True),
        "run-on": Detour(run_on=host),
    }[way]
    reach_by(sites, sshd)

    assert amounts(sites.sync(detour)) == {"published": 2 * OBJECTS}
    for server, files in sites.expected().items():
        assert contents(sites.root(server)) == files
