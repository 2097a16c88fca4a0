"""Whatever call fails or kills the agent: no half file has a final name, and no receipt lies."""

import errno
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from cachemig.agent.protocol import Outcome
from cachemig.stores.base import FileReceipt
from tests.agent.traced import Destination, new_destination
from tests.cache_files import archive, contents, object_path, put, sha256
from tests.servers.disks import NewFaultyDisk

COMPANION = "_deploy.tar.zst.siginfo"
LINKED = object_path("v95", 1)
MOST_CALLS = 60
KILLED_AT = ["linkat", "unlinkat", "syncfs", "utimensat", "mkdirat", "renameat2", "write"]
REFUSED = [
    ("linkat", "ENOSPC"),
    ("linkat", "EIO"),
    ("syncfs", "EIO"),
    ("syncfs", "ENOSPC"),
    ("utimensat", "EPERM"),
    ("mkdirat", "EDQUOT"),
    ("renameat2", "EIO"),
]


def fill(place: Destination) -> dict[str, bytes]:
    """Two objects with companions, one where a link is at the destination; by path."""
    files: dict[str, bytes] = {}
    for number in range(2):
        files[object_path("v95", number, COMPANION)] = b"siginfo %d" % number
        files[object_path("v95", number)] = archive(number, 300_000 * number + 1_000)
    for path, content in files.items():
        put(place.source, path, content)
    linked = place.root / LINKED
    linked.parent.mkdir(parents=True)
    linked.symlink_to("elsewhere")
    return files


def check(place: Destination, files: Mapping[str, bytes], told: Mapping[str, FileReceipt]) -> None:
    """What must be true at every moment, and after any failure."""
    there = {path: content for path, content in contents(place.root).items() if path in files}
    whole = {path for path, content in there.items() if content == files[path]}
    for path in there.keys() - whole:
        assert (place.root / path).is_symlink(), f"half a file at {path}"
    for path, receipt in told.items():
        if receipt.outcome is Outcome.PUBLISHED:
            assert path in whole
            assert receipt.sha256 == sha256(files[path])
    for path, digest in place.receipts().items():
        assert path in whole
        assert digest == sha256(files[path])
    for number in range(2):
        if object_path("v95", number) in whole:
            assert object_path("v95", number, COMPANION) in whole


def finish(place: Destination, files: Mapping[str, bytes]) -> None:
    """The next run sweeps what was left, and brings what is lacking."""
    place.sweep()
    left = [path for path in contents(place.root) if "/.cm-" in path]
    assert not left
    again = place.bring(list(files))
    assert {r.outcome for r in again.values()} <= {Outcome.PUBLISHED, Outcome.PRESENT}
    assert contents(place.root) == files


@pytest.mark.parametrize("call", KILLED_AT)
def test_killed_at_every_call_of_a_kind(tmp_path: Path, call: str):
    """From the first to the last; each time the next run completes."""
    kills = 0
    for place, files, told in broken_at_every(tmp_path, call, "signal=KILL"):
        assert told.keys() < files.keys() or not told
        check(place, files, told)
        finish(place, files)
        kills += 1
    assert kills, "it was never killed"


@pytest.mark.parametrize(("call", "error"), REFUSED)
def test_refused_at_every_call_of_a_kind(tmp_path: Path, call: str, error: str):
    """The files that it happened to fail with that errno; the next run completes."""
    refusals = 0
    for place, files, told in broken_at_every(tmp_path, call, f"error={error}"):
        if not told:  # refused when the root was opened
            assert not contents(place.root).keys() & files.keys() - {LINKED}
            finish(place, files)
            continue
        assert told.keys() == files.keys()
        failed = [receipt for receipt in told.values() if receipt.outcome is Outcome.FAILED]
        assert failed
        assert {receipt.errno for receipt in failed} == {getattr(errno, error)}
        assert all(receipt.cause for receipt in failed)
        if "sync" in call:
            assert len(failed) == len(files)
        check(place, files, told)
        finish(place, files)
        refusals += 1
    assert refusals, "it was never refused"


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_refused_at_every_write(tmp_path: Path, error: str):
    """Into a temp, a note, a receipt or the connection; the next run completes."""
    whole = set()
    for place, files, told in broken_at_every(tmp_path, "write", f"error={error}"):
        check(place, files, told)
        whole.add(len(files.keys() & contents(place.root).keys()))
        finish(place, files)
    assert len(whole) > 1, "the refusals came before any work, or after all of it"


def test_a_file_sync_that_fails_on_a_mount_fails_the_batch(
    tmp_path: Path, faulty_disk: NewFaultyDisk
):
    """Where each file is synced on its own, one lost write is not called durable."""
    place = new_destination(tmp_path)
    files = fill(place)
    disk = faulty_disk(place.root)
    disk.fail("fsync 5 100 .cm-")

    told = place.bring(list(files), "-e", "trace=fsync")

    assert disk.struck("fsync")
    assert {(receipt.outcome, receipt.errno) for receipt in told.values()} == {
        (Outcome.FAILED, errno.EIO)
    }
    check(place, files, told)
    disk.fail()
    finish(place, files)


def broken_at_every(
    folder: Path, call: str, fault: str
) -> Iterator[tuple[Destination, dict[str, bytes], dict[str, FileReceipt]]]:
    """Bring files to fresh roots, while the first, second, … call of a kind is broken."""
    for number in range(1, MOST_CALLS):
        place = new_destination(folder)
        files = fill(place)
        inject = f"inject={call}:{fault}:when={number}"
        told = place.bring(list(files), "-e", f"trace={call}", "-e", inject)
        if not place.trace.struck:
            assert contents(place.root) == files
            return
        yield place, files, told
    raise AssertionError(f"more than {MOST_CALLS} calls")
