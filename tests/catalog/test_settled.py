"""What a run saw whole is recalled for the same content, and not for long."""

from datetime import UTC, datetime, timedelta

import pytest

from cachemig.catalog.candidates import Destination
from cachemig.catalog.plan import Plan, make_plan
from cachemig.catalog.settled import Recalled, Settled, recall, remember, rest_of
from cachemig.core.outcomes import Amount
from cachemig.core.pair import Pair
from cachemig.core.shards import SLOTS, ShardMap
from tests.catalog.made import OLD_NS, Held, file, inventory_of, listing, object_name

DAY = timedelta(days=1)
PAIR = Pair("a", "x")
MAPS = {"lmp": ShardMap("new", "lmp", "slots", {"x": 1.0}, ("x",) * len(SLOTS))}
SEEN = {PAIR: [Settled("lmp", "3f/a1", OLD_NS, 2)]}


def plan_of(folder, *names: str, size_bytes: int = 10) -> Plan:
    """A plan that brings some archives into one directory, and one into another."""
    held = [
        Held("a", "lmp", listing("3f/a1", *(file(name, size_bytes) for name in names))),
        Held("a", "lmp", listing("3f/b2", file(object_name("3fb2" + "0" * 60)))),
    ]
    inventory = inventory_of(folder, held)
    return make_plan(inventory, Destination("new", MAPS), folder / "plan.parquet")


ONE, TWO, THREE = (object_name(pn=pn) for pn in ("one", "two", "three"))


@pytest.fixture
def kept(tmp_path):
    """The memory of a run that saw two archives in a directory."""
    path = tmp_path / "settled" / "new.parquet"
    remember(plan_of(tmp_path, ONE, TWO), SEEN, path, datetime.now(UTC))
    return path


def test_the_same_content_is_recalled(tmp_path, kept):
    """With its time; the rest is news."""
    memory = recall(plan_of(tmp_path, TWO, ONE), kept, longest=DAY)
    assert memory.pairs == {PAIR: Recalled(SEEN[PAIR], 1)}


@pytest.mark.parametrize(
    ("names", "size_bytes"),
    [
        pytest.param((ONE, TWO, THREE), 10, id="one more"),
        pytest.param((ONE,), 10, id="one less"),
        pytest.param((ONE, THREE), 10, id="another"),
        pytest.param((ONE, TWO), 11, id="another size"),
    ],
)
def test_other_content_is_news(tmp_path, kept, names, size_bytes):
    """What was seen is not what is planned now."""
    memory = recall(plan_of(tmp_path, *names, size_bytes=size_bytes), kept, longest=DAY)
    assert memory.pairs == {PAIR: Recalled([], len(names) + 1)}


def test_a_directory_of_which_not_all_was_seen_is_not_remembered(tmp_path):
    """One that is lacking must be asked for."""
    path, plan = tmp_path / "settled" / "new.parquet", plan_of(tmp_path, ONE, TWO, THREE)
    remember(plan, SEEN, path, datetime.now(UTC))
    assert recall(plan, path, longest=DAY).pairs == {PAIR: Recalled([], 4)}


@pytest.mark.parametrize(
    ("age", "recalled"),
    [(timedelta(0), 1), (DAY - timedelta(minutes=1), 1), (DAY, 0), (-timedelta(minutes=1), 0)],
)
def test_a_memory_is_relied_on_for_so_long(tmp_path, age, recalled):
    """Counted from the run that asked for everything; a clock set back proves nothing."""
    path, plan = tmp_path / "settled" / "new.parquet", plan_of(tmp_path, ONE, TWO)
    asked_at = datetime.now(UTC) - age
    remember(plan, SEEN, path, asked_at)

    memory = recall(plan, path, longest=DAY)

    assert len(memory.pairs[PAIR].settled) == recalled
    assert (memory.asked_at == asked_at) == bool(recalled)
    assert recall(plan, path, longest=timedelta(0)).pairs[PAIR].settled == []


def test_the_rest_is_the_plan_without_settled_directories(tmp_path):
    """In its order, and what was left out is told."""
    plan = plan_of(tmp_path, ONE, TWO)
    rest, present = rest_of(plan, PAIR, SEEN[PAIR], tmp_path / "rest.parquet")
    assert present == Amount(2, 20)
    with rest.reading() as reader:
        assert [row.directory for row in reader.rows(PAIR, 0, 10)] == ["3f/b2"]
