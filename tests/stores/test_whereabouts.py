"""Two addresses of one directory are known for one, and nothing else is."""

from pathlib import Path

import pytest

from cachemig.agent.place import whereabouts as told_by
from cachemig.agent.tree import Tree
from cachemig.errors import UsageError
from cachemig.stores.whereabouts import Whereabouts, refuse_overlap, whereabouts

TOP = Path("/").stat()


@pytest.fixture
def places(tmp_path):
    """Where a few folders are, by name."""
    (tmp_path / "one" / "below").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to("one")
    names = ("one", "one/below", "other", "link", ".")
    return {name: whereabouts(told_by(Tree(str(tmp_path / name)))) for name in names}


@pytest.mark.parametrize(
    ("one", "other"), [("one", "one"), ("one", "link"), ("one/below", "link"), (".", "other")]
)
def test_the_same_place_and_one_in_the_other_are_refused(places, one, other):
    """Whichever of them is the old one; both are named."""
    for old, new in ((one, other), (other, one)):
        with pytest.raises(UsageError) as refused:
            refuse_overlap({"nfs-1": places[old]}, {"nfs-9": places[new]})
        assert "nfs-1 and nfs-9" in refused.value.what
        assert refused.value.next_step


@pytest.mark.parametrize(("one", "other"), [("one", "other"), ("one/below", "other")])
def test_places_side_by_side_are_not(places, one, other):
    """Though the directories above them are the same."""
    refuse_overlap({"nfs-1": places[one]}, {"nfs-9": places[other]})


def test_the_same_numbers_on_another_machine_mean_nothing(places):
    """Inodes are counted from the same number everywhere."""
    elsewhere = places["one"]._replace(machine="another")

    refuse_overlap({"nfs-1": places["one"]}, {"nfs-9": elsewhere})


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {},
        {"machine": "m"},
        {"machine": 7, "places": [[1, 2]]},
        {"machine": "m", "places": [[1]]},
        {"machine": "m", "places": [["1", "2"]]},
        {"machine": "m", "places": "12"},
        {"machine": "m", "places": []},
    ],
)
def test_what_a_server_does_not_say_is_not_known(answer):
    """Nothing is refused for it, and nothing breaks."""
    known = Whereabouts("m", ((1, 2),))

    refuse_overlap({"nfs-1": whereabouts(answer)}, {"nfs-9": known})
    refuse_overlap({"nfs-1": whereabouts(answer)}, {"nfs-9": whereabouts(answer)})


def test_the_machine_is_known_here(places):
    """Else nothing would ever be found."""
    assert places["one"].machine
    assert places["one"].places[-1] == (TOP.st_dev, TOP.st_ino)
