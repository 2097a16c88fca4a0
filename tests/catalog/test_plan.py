"""What a plan brings, from where, in which order, and what it leaves behind."""

from collections import Counter, defaultdict
from datetime import datetime
from itertools import chain

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cachemig.catalog.candidates import Destination
from cachemig.catalog.database import read_metadata
from cachemig.catalog.plan import PlannedFile, make_plan
from cachemig.catalog.rows import CachePlace, RowKind, rows_of
from cachemig.core.pair import Pair
from cachemig.core.shards import SLOTS, ShardMap
from tests.catalog.made import (
    HASH,
    OLD_NS,
    Held,
    file,
    inventory_of,
    link,
    listing,
    object_name,
)

NAME = object_name()
EVEN_ODD = ("x", "y") * (len(SLOTS) // 2)
MAPS = {
    "lmp": ShardMap("new", "lmp", "slots", {"x": 1.0, "y": 1.0}, EVEN_ODD),
    "next": ShardMap("new", "next", "whole", {"y": 1.0}, ("y",) * len(SLOTS)),
}
DESTINATION = Destination("new", MAPS)


def digest(first: str) -> str:
    """A hash that begins so."""
    return first + HASH[len(first) :]


def plan_of(tmp_path, *held):
    """A plan for what is held, under the usual maps."""
    inventory = inventory_of(tmp_path, held)
    return make_plan(inventory, DESTINATION, tmp_path / "plans" / "p.parquet")


def all_rows(plan):
    """Every row of a plan, by pair, read in windows of three."""
    found = {}
    with plan.reading() as reader:
        for pair in plan.pairs:
            windows = iter(range(0, 10_000, 3))
            rows = []
            while window := reader.rows(pair, next(windows), 3):
                rows += window
            found[pair] = rows
    return found


def test_an_object_goes_to_the_owner_of_its_slot_companions_first(tmp_path):
    """Each cache by its own map."""
    files = [file(NAME, 30, 3), file(f"{NAME}.sig", 20, 2), file(f"{NAME}.siginfo", 10, 1)]
    plan = plan_of(
        tmp_path,
        Held("a", "lmp", listing("3e/a1", file(object_name(digest("3ea1"))))),
        Held("a", "lmp", listing("universal/3f/a1", *files)),
        Held("b", "next", listing("3e/a1", file(object_name(digest("3ea1"))))),
    )

    assert plan.pairs == (Pair("a", "x"), Pair("a", "y"), Pair("b", "y"))
    (row,) = all_rows(plan)[Pair("a", "y")]
    assert row.files == (
        PlannedFile(".sig", 20, 2),
        PlannedFile(".siginfo", 10, 1),
        PlannedFile("", 30, 3),
    )
    assert row.paths("v95")[0] == f"v95/universal/3f/a1/{NAME}.sig"
    assert row.paths("")[2] == f"universal/3f/a1/{NAME}"
    assert row.size_bytes == 60


def test_what_was_used_last_comes_first_and_signatures_come_last(tmp_path):
    """An archive that nobody asked for in a year still goes before a signature."""
    names = [object_name(digest("01a1"), task=task) for task in ("cold", "hot", "warm", "sig")]
    plan = plan_of(
        tmp_path,
        Held(
            *("a", "lmp"),
            listing(
                "01/a1",
                file(names[0], mtime_ns=1),
                file(names[1], mtime_ns=9),
                file(names[2], mtime_ns=5),
                file(f"{names[3]}.siginfo", mtime_ns=99),
            ),
        ),
    )

    rows = all_rows(plan)[Pair("a", "y")]

    assert [row.name for row in rows] == [names[1], names[2], names[0], names[3]]
    assert [row.kind for row in rows] == ["object", "object", "object", "signature"]


def test_of_several_copies_the_newest_sound_one_travels(tmp_path):
    """An empty one is not sound, however new; the others are counted."""
    plan = plan_of(
        tmp_path,
        Held("a", "lmp", listing("3f/a1", file(NAME, 10, 1))),
        Held("b", "lmp", listing("3f/a1", file(NAME, 20, 2))),
        Held("c", "lmp", listing("3f/a1", file(NAME, 0, 3))),
        Held("d", "lmp", listing("3f/a1", file(f"{NAME}.siginfo", 5, 9))),
    )

    assert plan.pairs == (Pair("b", "y"),)
    assert plan.left_out == {"damaged": 1, "duplicate": 2}


def test_of_several_copies_the_one_with_its_companions_travels(tmp_path):
    """A newer archive alone would lose the signature, and a signed cache rebuilds without it."""
    plan = plan_of(
        tmp_path,
        Held("a", "lmp", listing("3f/a1", file(NAME, 10, 9))),
        Held("b", "lmp", listing("3f/a1", file(NAME, 20, 2), file(f"{NAME}.sig", 5, 2))),
    )

    assert plan.pairs == (Pair("b", "y"),)


def test_what_does_not_travel_is_counted_by_reason(tmp_path):
    """A link that leads somewhere travels as the file it leads to."""
    followed = object_name(task="followed")
    plan = plan_of(
        tmp_path,
        Held("a", "lmp", listing("3f/a2", file(NAME))),
        Held("a", "lmp", listing("3f/a1", link(NAME), link(followed, 77, OLD_NS))),
        Held("a", "lmp", listing("", file("hashserv.db"), file("x.lock"))),
        Held("a", "elsewhere", listing("", file("y.lock"))),
    )

    assert plan.left_out == {"misplaced": 1, "stray": 2, "unresolved_link": 1}
    (row,) = all_rows(plan)[Pair("a", "y")]
    assert (row.name, row.files) == (followed, (PlannedFile("", 77, OLD_NS),))


def test_a_plan_is_printed_the_same_for_the_same_facts(tmp_path):
    """So that two dry runs can be compared as text."""
    held = Held("a", "lmp", listing("3f/a1", file(NAME, 0), file("x.lock")))
    other = Held("b", "lmp", listing("3e/a1", file(object_name(digest("3ea1")), 2048)))

    text = str(plan_of(tmp_path, held, other))

    assert text.splitlines() == [
        "plan old -> new, by the inventory of 2026-03-01 02:30:00 UTC",
        "b -> x: 1 objects, 0 signatures, 1 files, 2.0 KiB",
        "left out: 1 damaged, 1 stray",
    ]


def test_a_plan_file_says_what_it_is(tmp_path):
    """It is kept with the run, and can be read by any program long after (docs/formats.md)."""
    plan = plan_of(tmp_path, Held("a", "lmp", listing("3f/a1", file(NAME, 30), file("stray", 5))))

    pairs = read_metadata(plan.path, "the plan", 1)

    assert pairs["totals"] == '[["a", "y", 1, 0, 1, 30]]'
    assert pairs["left_out"] == '{"stray": 1}'
    assert {name: pairs[name] for name in ("content", "old_site", "new_site")} == {
        "content": "plan",
        "old_site": "old",
        "new_site": "new",
    }
    assert datetime.fromisoformat(pairs["scanned_at"]) == plan.scanned_at


def test_nothing_to_bring_is_a_plan_too(tmp_path):
    """The old site may be empty, or hold strays alone."""
    plan = plan_of(tmp_path, Held("a", "lmp", listing("")))

    assert (plan.pairs, plan.left_out) == ((), {})
    assert "nothing to bring" in str(plan)


kinds = st.sampled_from(["archive", "siginfo", "both", "empty", "link", "dangling"])
copies = st.tuples(
    st.sampled_from("ab"),
    st.sampled_from(["lmp", "next"]),
    st.sampled_from(["10a1", "11a1", "11a2"]),
    st.sampled_from(["", "universal/"]),
    st.sampled_from(["package", "deploy"]),
    st.booleans(),
    kinds,
    st.integers(1, 4),
)


def held_of(copy):
    """One copy of an object as it lies somewhere."""
    server, cache, first, native, task, is_misplaced, kind, mtime_ns = copy
    name = object_name(digest(first), task=task)
    directory = f"{native}{first[:2]}/{'ff' if is_misplaced else first[2:]}"
    files = {
        "archive": [file(name, 10, mtime_ns)],
        "siginfo": [file(f"{name}.siginfo", 5, mtime_ns)],
        "both": [file(name, 10, mtime_ns), file(f"{name}.siginfo", 5, mtime_ns)],
        "empty": [file(name, 0, mtime_ns)],
        "link": [link(name, 10, mtime_ns)],
        "dangling": [link(name)],
    }[kind]
    return Held(server, cache, listing(directory, *files))


def planned_by_hand(held):
    """The rule in plain Python: what goes where, in order, and what stays behind."""
    rows = [row for h in held for row in rows_of(CachePlace(h.server, h.cache, ""), h.listing)]
    left_out: Counter[str] = Counter()
    copies_of = defaultdict(list)
    for row in rows:
        if row.kind is RowKind.LINK and not row.resolved:
            left_out["unresolved_link"] += 1
        elif row.misplaced:
            left_out["misplaced"] += 1
        elif row.damage:
            left_out["damaged"] += 1
        else:
            copies_of[row.cache, row.directory, row.name].append(row)

    def heat(row):
        return row.size_bytes is None, -(row.mtime_ns or row.siginfo_mtime_ns or 0)

    def worth(row):
        companions = [row.siginfo_size_bytes, row.sig_size_bytes]
        without_archive, minus_mtime_ns = heat(row)
        return without_archive, companions.count(None), minus_mtime_ns, row.server

    by_pair = defaultdict(list)
    for copies_of_one in copies_of.values():
        best = min(copies_of_one, key=worth)
        left_out["duplicate"] += len(copies_of_one) - 1
        by_pair[Pair(best.server, MAPS[best.cache].owner(best.slot))].append(best)
    for chosen in by_pair.values():
        chosen.sort(key=lambda row: (*heat(row), row.name, row.cache, row.directory))
    return by_pair, +left_out


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(copies, max_size=25, unique_by=lambda copy: copy[:6]))
def test_the_plan_in_sql_is_the_rule_in_python(tmp_path, drawn):
    """Whatever lies where, however often."""
    held = [held_of(copy) for copy in drawn]
    by_pair, left_out = planned_by_hand(held)

    plan = plan_of(tmp_path, *held)

    assert plan.left_out == left_out
    found = all_rows(plan)
    assert {p: [(r.cache, r.directory, r.name) for r in rows] for p, rows in found.items()} == {
        p: [(r.cache, r.directory, r.name) for r in rows] for p, rows in by_pair.items()
    }
    for total in plan.totals:
        files = list(chain.from_iterable(row.files for row in found[total.pair]))
        assert total.files == len(files)
        assert total.size_bytes == sum(f.size_bytes for f in files)
        assert total.objects + total.signatures == len(found[total.pair])
