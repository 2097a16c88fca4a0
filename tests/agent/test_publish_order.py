"""Data durable, link, directories durable, receipt, reply: read off the agent's system calls."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cachemig.agent.protocol import Outcome
from tests.agent.traced import Call, Destination, Trace, new_destination, temp_of
from tests.cache_files import archive, contents, object_path, put
from tests.servers.disks import NewFaultyDisk

CALLS = "trace=syncfs,fsync,linkat,renameat2,write,utimensat,fchown,fchmod,openat,mkdirat"
SLOW_EXCHANGE = (
    *("-e", "trace=linkat,renameat,renameat2"),
    *("-e", "inject=renameat2:delay_enter=2000000"),
)
TAILS = ("_deploy.tar.zst.siginfo", "_deploy.tar.zst.sig", "_deploy.tar.zst")


def fill(place: Destination, objects: int = 3) -> dict[str, bytes]:
    """Objects with companions at the source, one of them in many frames; by path."""
    files = {}
    for number in range(objects):
        for tail in TAILS:
            size_bytes = 600_000 if number == 1 else 2_000
            content = archive(number, size_bytes) if tail == TAILS[-1] else os.urandom(300)
            files[object_path("v95", number, tail)] = content
    for path, content in files.items():
        put(place.source, path, content)
    return files


def links_of(trace: Trace) -> dict[str, Call]:
    """The call that gave each file its final name, by that name."""
    return {call.text.split('"')[3]: call for call in trace.named("linkat")}


def last_before(trace: Trace, temp: str) -> int:
    """Where in the log the last call ended that changed the temp's bytes or properties."""
    changing = trace.named("write", "utimensat", "fchmod", "fchown", "openat")
    return max(call.end for call in changing if temp in call.text)


def between(calls: list[Call], after: int, before: int) -> list[Call]:
    """The calls that lie wholly between two places of the log."""
    return [call for call in calls if after < call.begin and call.end < before]


def receipt_write(trace: Trace) -> Call:
    """The call that wrote the batch's receipts."""
    (call,) = [c for c in trace.named("write") if "/.cachemig/receipts/" in c.text.split(",")[0]]
    return call


def reply(trace: Trace) -> Call:
    """The call that acknowledged the batch: the last frame of that kind on standard output."""
    return [c for c in trace.named("write") if c.text.startswith("1<") and ', "R' in c.text][-1]


def bring_all(place: Destination) -> tuple[dict[str, bytes], Trace]:
    """Bring everything, and have it arrive."""
    files = fill(place)
    receipts = place.bring(list(files), "-y", "-s", "4000", "-e", CALLS)
    assert {receipt.outcome for receipt in receipts.values()} == {Outcome.PUBLISHED}
    assert contents(place.root) == files
    return files, place.trace


def test_where_one_sync_is_enough(tmp_path: Path):
    """On a local disk: one syncfs before the first link, and one before the receipts."""
    files, trace = bring_all(new_destination(tmp_path))
    syncs, links = trace.named("syncfs"), links_of(trace)

    assert set(links) == {Path(path).name for path in files}
    for link in links.values():
        assert between(syncs, last_before(trace, temp_of(link)), link.begin)
    last_link = max(link.end for link in links.values())
    assert between(syncs, last_link, receipt_write(trace).begin)
    assert receipt_write(trace).end < reply(trace).begin


def test_where_each_file_is_synced(tmp_path: Path, faulty_disk: NewFaultyDisk):
    """On a mount: each temp before its link, then each directory up to the root."""
    place = new_destination(tmp_path)
    faulty_disk(place.root)
    files, trace = bring_all(place)
    syncs, links = trace.named("fsync"), links_of(trace)

    assert not trace.named("syncfs")
    for path in files:
        link = links[Path(path).name]
        temp = temp_of(link)
        of_temp = [call for call in syncs if f"/{temp}>" in call.text]
        assert between(of_temp, last_before(trace, temp), link.begin)
        folder = place.root / path
        while folder != place.root:
            folder = folder.parent
            of_folder = [call for call in syncs if f"<{folder}>" in call.text]
            assert between(of_folder, link.end, receipt_write(trace).begin)
    assert receipt_write(trace).end < reply(trace).begin


@pytest.mark.parametrize("tail", TAILS[:2])
def test_companions_come_before_their_archive(tmp_path: Path, tail: str):
    """A build that finds an archive finds its signature and its siginfo too."""
    place = new_destination(tmp_path)
    _, trace = bring_all(place)
    links = links_of(trace)

    for number in range(3):
        main = links[Path(object_path("v95", number)).name]
        assert links[Path(object_path("v95", number, tail)).name].end < main.begin


def test_a_file_that_takes_a_links_place_in_between_is_kept(tmp_path: Path):
    """The exchange that replaces a link is taken back when it met a file instead."""
    others = archive(2, 5_000)
    place, path = linked(tmp_path)

    with when_a_link_is_met(place, lambda: rename_into(place.root / path, others)):
        receipts = place.bring([path], *SLOW_EXCHANGE)

    assert receipts[path].outcome is Outcome.FOREIGN
    assert contents(place.root) == {path: others}


def test_a_link_that_is_gone_in_between_leaves_the_name_free(tmp_path: Path):
    """Nothing is renamed over what may come there next."""
    place, path = linked(tmp_path)

    with when_a_link_is_met(place, (place.root / path).unlink):
        receipts = place.bring([path], *SLOW_EXCHANGE)

    assert not place.trace.named("renameat", "renameat2")
    assert receipts[path].outcome is Outcome.PUBLISHED
    assert contents(place.root) == {path: archive(1)}


def linked(folder: Path) -> tuple[Destination, str]:
    """An object to bring, and a link where it belongs."""
    place, path = new_destination(folder), object_path("v95", 1)
    put(place.source, path, archive(1))
    there = place.root / path
    there.parent.mkdir(parents=True)
    there.symlink_to("elsewhere")
    return place, path


def rename_into(path: Path, content: bytes) -> None:
    """Put a whole file under a name, as bitbake would."""
    draft = path.with_name("draft")
    draft.write_bytes(content)
    draft.rename(path)


@contextmanager
def when_a_link_is_met(place: Destination, act: Callable[[], object]) -> Iterator[None]:
    """Do something while the agent, which found its final name taken, is about to exchange."""
    with place.when(lambda line: " linkat(" in line and "EEXIST" in line, act):
        yield
    assert "RENAME_EXCHANGE" in place.log.read_text()
