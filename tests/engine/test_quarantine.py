"""What is set aside is what was found damaged, and still is."""

import os
from pathlib import Path

import pytest

from cachemig.config import load
from cachemig.engine.quarantine import perform_quarantine, plan_quarantine
from tests.moved_cache import MovedCache, move_cache


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> MovedCache:
    """A cache that was just moved."""
    return move_cache(tmp_path_factory.mktemp("moved"), {})


def put_back(path: Path, data: bytes) -> None:
    """Write a file anew; its time is what it was."""
    status = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("deep", [False, True])
def test_what_was_mended_while_a_person_was_asked_stays(moved: MovedCache, *, deep: bool) -> None:
    """Also with the size and time of the damaged one; the others go, and none of the whole."""
    mended, still_bad, *_ = moved.archives("new-1")
    whole = {path: path.read_bytes() for path in (mended, still_bad)}
    for path, data in whole.items():
        middle = len(data) // 2
        flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        put_back(path, flipped if deep else data[:100])
    config = load(moved.config)
    site = config.site("new")

    plan = plan_quarantine(config, site, lambda _: None, deep=deep)
    put_back(mended, whole[mended])
    gone = list(perform_quarantine(config, site, plan, "run"))

    assert {found.path for found in plan} == {moved.below_root(path) for path in whole}
    assert [aside.path for aside in gone] == [moved.below_root(still_bad)]
    assert mended.read_bytes() == whole[mended]
    put_back_aside = moved.folder / "new-1" / gone[0].new_path
    put_back_aside.rename(still_bad)
    put_back(still_bad, whole[still_bad])


def test_what_was_cut_short_in_place_after_a_check_is_found(moved: MovedCache) -> None:
    """Its directory is as it was, and so is what the last scan knew of it."""
    path, *_ = moved.archives("new-1")
    whole = path.read_bytes()
    config = load(moved.config)
    site = config.site("new")
    assert plan_quarantine(config, site, lambda _: None, deep=False) == []

    path.write_bytes(whole[:100])
    plan = plan_quarantine(config, site, lambda _: None, deep=False)
    put_back(path, whole)

    assert [found.path for found in plan] == [moved.below_root(path)]
