"""Is everything of the old site at the new one, where a build will look for it?"""

import pytest

from cachemig.catalog.candidates import Destination
from cachemig.catalog.presence import State, presence
from cachemig.core.shards import SLOTS, ShardMap
from tests.catalog.made import Held, file, inventory_of, link, listing, object_name

NAME = object_name()
SIGINFO = f"{NAME}.siginfo"
OWNERS = ("x", "y") * (len(SLOTS) // 2)
MAP = ShardMap("new", "lmp", "slots", {"x": 1.0, "y": 1.0}, OWNERS)
DESTINATION = Destination("new", {"lmp": MAP})
WHOLE = [file(NAME, 30), file(SIGINFO, 10)]


def states(tmp_path, old_files, *new_held):
    """Totals and absentees when one directory of the old site is compared with the new."""
    old = inventory_of(tmp_path, [Held("a", "lmp", listing("3f/a1", *old_files))])
    new = inventory_of(tmp_path, new_held, site="new")
    with presence(old, DESTINATION, new) as found:
        return [(t.kind, t.state, t.entries) for t in found.totals()], list(found.absent())


@pytest.mark.parametrize(
    ("server", "files", "state"),
    [
        ("y", WHOLE, State.PRESENT),
        ("y", [file(NAME, 31), file(SIGINFO, 10)], State.OTHER_SIZE),
        ("y", [file(NAME, 30)], State.INCOMPLETE),
        ("y", [file(NAME, 0), file(SIGINFO, 10)], State.DAMAGED),
        ("y", [file(SIGINFO, 10)], State.MISSING),
        ("y", [link(NAME, 30), link(SIGINFO, 10)], State.MISSING),
        ("y", [], State.MISSING),
        ("x", WHOLE, State.WRONG_SERVER),
    ],
)
def test_an_object_is_in_one_state(tmp_path, server, files, state):
    """A link counts as absent; another build's archive is whole, of another size."""
    totals, absent = states(tmp_path, WHOLE, Held(server, "lmp", listing("3f/a1", *files)))

    assert totals == [("object", state, 1)]
    if state in {State.PRESENT, State.OTHER_SIZE}:
        assert absent == []
    else:
        (row,) = absent
        assert (row.name, row.server, row.size_bytes, row.state) == (NAME, "y", 40, state)


def test_a_copy_on_the_wrong_server_beside_one_on_the_right_does_no_harm(tmp_path):
    """The build finds the right one."""
    held = [Held(server, "lmp", listing("3f/a1", *WHOLE)) for server in "xy"]

    totals, absent = states(tmp_path, WHOLE, *held)

    assert (totals, absent) == ([("object", State.PRESENT, 1)], [])


def test_a_signature_is_also_there_when_the_new_site_has_the_archive_too(tmp_path):
    """Builds go on at the new site."""
    totals, _ = states(tmp_path, WHOLE[1:], Held("y", "lmp", listing("3f/a1", *WHOLE)))

    assert totals == [("signature", State.PRESENT, 1)]


def test_another_native_directory_is_another_object(tmp_path):
    """A build looks in one of them alone."""
    totals, _ = states(tmp_path, WHOLE, Held("y", "lmp", listing("universal/3f/a1", *WHOLE)))

    assert totals == [("object", State.MISSING, 1)]


def test_what_could_not_travel_is_not_missed(tmp_path):
    """Empty archives at the old site are not expected at the new one."""
    totals, absent = states(tmp_path, [file(NAME, 0)], Held("y", "lmp", listing("")))

    assert (totals, absent) == ([], [])
