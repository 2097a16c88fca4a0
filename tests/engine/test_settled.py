"""What a run saw whole at a destination is not asked for again while its directory stays."""

import os
import time
from pathlib import Path

import pytest

from cachemig.files import settled_path
from tests.cache_files import OLD_NS, archive, object_path, put
from tests.engine.sites import FOLDERS, OBJECTS, WEIGHTS, Sites, amounts

ALL = 2 * OBJECTS


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    """Sites between which all was brought, and of which a run has seen so."""
    made = Sites(tmp_path)
    made.fill()
    made.sync()
    age_directories(made)
    assert amounts(made.sync()) == {"present": ALL}
    return made


def age_directories(sites: Sites) -> None:
    """Let every directory have changed long ago, as on the day after."""
    for server in WEIGHTS:
        for folder, _, _ in os.walk(sites.root(server)):
            os.utime(folder, ns=(OLD_NS, OLD_NS))


def at_new(sites: Sites, path: str) -> Path:
    """Where an object is now."""
    return next(p for server in WEIGHTS if (p := sites.root(server) / path).exists())


def test_a_settled_directory_is_passed_over(sites: Sites):
    """A file that is changed in place shows it: only `--full` sees that."""
    path = at_new(sites, object_path("v94", 2))
    path.write_bytes(archive(2)[:-1])

    assert amounts(sites.sync()) == {"present": ALL}
    assert amounts(sites.sync(full=True)) == {"present": ALL - 1, "damaged": 1}


def test_what_was_removed_from_a_settled_directory_is_brought_again(sites: Sites):
    """Its directory has another time."""
    path = at_new(sites, object_path("v94", 2))
    path.unlink()

    assert amounts(sites.sync()) == {"present": ALL - 1, "published": 1}
    assert path.exists()
    assert amounts(sites.sync()) == {"present": ALL}


def test_what_was_removed_with_its_directory_is_brought_again(sites: Sites):
    """A cleaner takes empty directories, too."""
    path = at_new(sites, object_path("v94", 2))
    path.unlink()
    path.parent.rmdir()

    assert amounts(sites.sync()) == {"present": ALL - 1, "published": 1}
    assert path.exists()


def test_what_is_new_at_the_old_site_is_brought_into_settled_directories(sites: Sites):
    """The plan brings more there than was seen."""
    there = object_path("v94", 2)
    again = there.replace(":1.3.2:", ":1.3.9999:")
    put(sites.root("c"), again, archive(5))

    assert amounts(sites.sync()) == {"present": ALL, "published": 1}
    assert at_new(sites, again).exists()


def test_a_hit_at_the_old_site_still_moves_times(sites: Sites):
    """Times are part of what was planned."""
    path = object_path(FOLDERS["lmp-95"], 3)
    old = next(p for server in "abc" if (p := sites.root(server) / path).exists())
    os.utime(old, ns=(OLD_NS + 10**13, OLD_NS + 10**13))
    put(old.parent, "touches-its-directory", b"")

    assert amounts(sites.sync()) == {"present": ALL}
    assert at_new(sites, path).stat().st_mtime_ns == OLD_NS + 10**13


def test_a_directory_that_changed_just_now_is_not_relied_on(sites: Sites):
    """It could change again within the same tick of the clock."""
    path = at_new(sites, object_path("v94", 2))
    soon_s = time.time() + 60  # however long it takes until it is asked for
    os.utime(path.parent, (soon_s, soon_s))
    assert amounts(sites.sync()) == {"present": ALL}
    path.write_bytes(archive(2)[:-1])

    assert amounts(sites.sync()) == {"present": ALL - 1, "damaged": 1}


def test_a_memory_that_can_not_be_read_is_none(sites: Sites):
    """Everything is asked for, and remembered anew."""
    kept = settled_path(sites.config.state_dir, "old", "new")
    whole = kept.read_bytes()
    at_new(sites, object_path("v94", 2)).write_bytes(b"")
    kept.write_bytes(whole[: len(whole) // 2])

    assert amounts(sites.sync()) == {"present": ALL - 1, "damaged": 1}
    assert kept.stat().st_size > len(whole) // 2
