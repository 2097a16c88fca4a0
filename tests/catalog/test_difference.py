"""What two sites do not have in common."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cachemig.catalog.difference import CacheDifference, Contrast, difference, differing
from tests.catalog.made import HASH, Held, file, inventory_of, link, listing, object_name

NAME = object_name()
OTHER = object_name(HASH.replace("3fa1", "c001"), pn="busybox", task="populate_sysroot")
SLOTS = ("3f", "c0")

sites = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from(SLOTS), st.integers(1, 3)),
    unique_by=lambda held: held[:2],
    min_size=1,
)


def site_of(tmp_path, name, held):
    """A site whose servers hold archives of one name in these folders."""
    each = [Held(server, "lmp", listing(f"{slot}/a1", file(NAME, n))) for server, slot, n in held]
    return inventory_of(tmp_path, each, site=name)


def test_two_sites_are_compared_by_key_and_size(tmp_path):
    """Wherever in their site the archives lie; a signature is none, nor is a link to nowhere."""
    old = inventory_of(
        tmp_path,
        [
            Held("a", "lmp", listing("3f/a1", file(NAME, 100), file(f"{NAME}.siginfo", 10))),
            Held("b", "lmp", listing("c0/01", file(OTHER, 0), file("x.lock", 0))),
            Held("b", "lmp", listing("c0/02", file(f"{OTHER}.siginfo", 7))),
            Held("b", "lmp", listing("c0/03", link(OTHER, target="/gone"))),
        ],
    )
    new = inventory_of(
        tmp_path,
        [
            Held("x", "lmp", listing("3f/a1", file(NAME, 99))),
            Held("y", "lmp", listing("c0/01", file(OTHER, 5))),
            Held("y", "next", listing("c0/01", file(OTHER, 5))),
        ],
        site="new",
    )

    assert difference(old, new) == [
        CacheDifference("lmp", 0, 2, 0, 0, 0, 0),
        CacheDifference("next", 0, 0, 0, 1, 0, 5),
    ]
    assert list(differing(old, new)) == [
        ("lmp", "3f/a1", NAME, Contrast.OTHER_SIZE, "a", 100, "x", 99),
        ("lmp", "c0/01", OTHER, Contrast.OTHER_SIZE, "b", 0, "y", 5),
        ("next", "c0/01", OTHER, Contrast.ONLY_OTHER, None, None, "y", 5),
    ]


def test_of_several_archives_of_one_key_the_largest_is_named(tmp_path):
    """With the server where that one lies."""
    old = site_of(tmp_path, "old", [("a", "3f", 1), ("b", "3f", 3)])
    new = site_of(tmp_path, "new", [("a", "3f", 2)])

    (found,) = differing(old, new)

    assert (found.server, found.size_bytes, found.other_size_bytes) == ("b", 3, 2)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(ours=sites, theirs=sites)
def test_as_many_differ_as_the_totals_count(tmp_path, ours, theirs):
    """The list and the totals never contradict each other; seen from the other site, neither."""
    one, two = site_of(tmp_path, "old", ours), site_of(tmp_path, "new", theirs)

    found = list(differing(one, two))
    (total,) = difference(one, two)

    counts = {each: sum(row.contrast is each for row in found) for each in Contrast}
    assert (total.other_size, total.only_one, total.only_other) == (
        counts[Contrast.OTHER_SIZE],
        counts[Contrast.ONLY_ONE],
        counts[Contrast.ONLY_OTHER],
    )
    assert total.same + len(found) == len({slot for _, slot, _ in [*ours, *theirs]})
    back = list(differing(two, one))
    assert [row[4:6] for row in back] == [row[6:8] for row in found]


def test_any_name_is_listed_as_it_is_on_disk(tmp_path):
    """A backslash in it, which a stored path doubles, is one again."""
    folder, name = "3f\\a1", object_name(pn="a\\b")
    old = inventory_of(tmp_path, [Held("a", "lmp", listing(folder, file(name)))])
    new = site_of(tmp_path, "new", [("a", "3f", 1)])

    assert [(found.directory, found.name) for found in differing(old, new)] == [
        ("3f/a1", NAME),
        (folder, name),
    ]
