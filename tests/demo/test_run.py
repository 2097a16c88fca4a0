"""The tour works alone in its folder, and says why it can not."""

import errno
import fcntl
import os

import pytest

from cachemig.demo.run import tour
from cachemig.errors import LockedError, NoSpaceError, UsageError


def test_two_demos_in_one_folder_do_not_clear_each_other(tmp_path):
    """The second is told what the matter is, and touches nothing."""
    (tmp_path / "cachemig.toml").write_text("# Written by `cachemig demo`, which makes this folder")
    held = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)

    with pytest.raises(LockedError, match="another demo"):
        tour(tmp_path, print, over_ssh=False, output=1)
    os.close(held)

    assert [path.name for path in tmp_path.iterdir()] == ["cachemig.toml"]


@pytest.mark.parametrize(
    ("number", "error", "remedy"),
    [(errno.ENOSPC, NoSpaceError, "300 MB"), (errno.EACCES, UsageError, "may write")],
)
def test_what_the_disk_refuses_is_told_by_its_cause(tmp_path, faulty_disk, number, error, remedy):
    """A full disk needs another remedy than a forbidden folder."""
    folder = tmp_path / "demo"
    folder.mkdir()
    faulty_disk(folder).fail(f"create {number} 100")

    with pytest.raises(error) as caught:
        tour(folder, print, over_ssh=False, output=1)

    assert caught.value.cause == os.strerror(number)
    assert remedy in caught.value.next_step
