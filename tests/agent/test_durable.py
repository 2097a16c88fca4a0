"""What is made durable, and by which call, wherever the root or one of its slots lies."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from cachemig.agent.protocol import Outcome
from cachemig.stores.base import FileReceipt
from tests.agent.traced import Destination, new_destination
from tests.cache_files import archive, contents, object_path, put
from tests.servers.disks import Mount, NewFaultyDisk
from tests.stores.ways import Way, local_argv, send, wanted_file

SYNCS = ("-y", "-e", "trace=syncfs,fsync")
FEW_DESCRIPTORS = 256


def fill(place: Destination, numbers: range) -> list[str]:
    """Objects at the source; their paths."""
    paths = [object_path("v95", number) for number in numbers]
    for number, path in enumerate(paths):
        put(place.source, path, archive(number, 200))
    return paths


def test_a_slot_that_is_a_disk_of_its_own_is_synced_too(tmp_path: Path, tmpfs: Mount):
    """One syncfs for each file system that holds a file of the batch."""
    place = new_destination(tmp_path)
    slot = place.root / "3f"
    slot.mkdir()
    tmpfs(slot, "size=8m")
    paths = ["3f/a1/x", "3e/a1/x"]
    for path in paths:
        put(place.source, path, b"12345")

    receipts = place.bring(paths, *SYNCS)

    assert {receipt.outcome for receipt in receipts.values()} == {Outcome.PUBLISHED}
    synced = [call.text for call in place.trace.named("syncfs")]
    assert sum(f"<{slot}" in text for text in synced) == 2
    assert sum(f"<{place.root}>" in text for text in synced) == 2


def test_a_slot_that_is_a_mount_makes_each_file_be_synced(
    tmp_path: Path, faulty_disk: NewFaultyDisk
):
    """There syncfs does nothing useful, so it can not be trusted for what lies there."""
    place = new_destination(tmp_path)
    slot = place.root / "3f"
    slot.mkdir()
    faulty_disk(slot)
    put(place.source, "3f/a1/x", b"12345")

    receipts = place.bring(["3f/a1/x"], *SYNCS)

    assert receipts["3f/a1/x"].outcome is Outcome.PUBLISHED
    synced = [call.text for call in place.trace.named("fsync")]
    for path in (f"<{slot}/a1/.cm-", f"<{slot}/a1>", f"<{slot}>", f"<{place.root}>"):
        assert any(path in text for text in synced), path


def test_many_files_need_few_descriptors(tmp_path: Path, faulty_disk: NewFaultyDisk):
    """Three batches of 300 files, each to be synced, where a process may open 256 files."""
    place = new_destination(tmp_path)
    faulty_disk(place.root)
    batches = [fill(place, range(at, at + 300)) for at in (0, 300, 600)]
    limited = ("prlimit", f"--nofile={FEW_DESCRIPTORS}", *local_argv(sys.executable))

    receipts = bring_at_once(place, batches, limited)

    assert {receipt.cause for receipt in receipts} == {""}
    assert len(contents(place.root)) == 900


@pytest.mark.parametrize("by_file", [False, True])
def test_directories_that_a_cleaner_removed_are_made_again(
    tmp_path: Path, faulty_disk: NewFaultyDisk, by_file: bool
):
    """The agent's threads hold directories open that may be gone; the next batch arrives."""
    place = new_destination(tmp_path)
    if by_file:
        faulty_disk(place.root)
    way = Way.local("here", sys.executable)
    lane = way.lane(way.rooted(place.source), place.root, dial_source=False)
    try:
        for number in range(3):
            put(place.source, "3f/a1/x", archive(number))
            (receipt,) = send(lane, [wanted_file("3f/a1/x")])
            assert receipt.outcome is Outcome.PUBLISHED, receipt
            assert contents(place.root) == {"3f/a1/x": archive(number)}
            shutil.rmtree(place.root / "3f")
    finally:
        lane.close()


def bring_at_once(
    place: Destination, batches: Sequence[Sequence[str]], argv: tuple[str, ...]
) -> list[FileReceipt]:
    """Send batches without waiting for one before the next."""
    way = Way.local("here", sys.executable)
    target = way.rooted(place.root)._replace(argv=argv)
    lane = way.lane(way.rooted(place.source), place.root, dial_source=False, destination=target)
    try:
        for batch in batches:
            lane.send([wanted_file(path) for path in batch], 0)
        answers = [answer.receipts for answer in lane.answers() if answer.receipts is not None]
    finally:
        lane.close()
    return [receipt for receipts in answers for receipt in receipts]
