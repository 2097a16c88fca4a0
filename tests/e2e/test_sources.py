"""Sources and destinations that live: what changes while it is copied, and what was there first."""

import hashlib
import os
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e import oracle
from tests.e2e.sites import Running, Sites, archive, archive_path, contents, fill, temps, write

MEBIBYTE = 1024 * 1024
LIMIT_S = 60


@pytest.fixture
def sites(tmp_path) -> Sites:
    """One folder on each side."""
    sites = Sites(tmp_path)
    sites.add("old", "nfs-1")
    sites.add("new", "nfs-9")
    return sites


def roots(sites: Sites) -> tuple[Path, Path]:
    """Where the files of the old and of the new server lie."""
    return sites.servers["old"][0].root, sites.servers["new"][0].root


def outcomes(ran) -> dict[str, str]:
    """The outcome of each object that was told singly."""
    return {event["path"]: event["outcome"] for event in ran.events if event["type"] == "object"}


def test_an_inventory_older_than_the_tree_is_no_trap(sites):
    """Each object is copied as it is now, or told as vanished, damaged or not to be read."""
    old, new = roots(sites)
    paths = fill(old, range(20))
    sites.write()
    assert sites.run("scan", "old").code == 0
    gone, grown, rewritten, cut, empty, touched, folder, fifo, link, lone, *_ = paths
    (old / gone).unlink()
    write(old / grown, archive(1, 9000))
    write(old / rewritten, archive(2, 3000))
    os.truncate(old / cut, 2000)
    os.truncate(old / empty, 0)
    os.utime(old / touched, (1_800_000_000, 1_800_000_000))
    (old / f"{lone}.siginfo").unlink()
    for path, make in ((folder, Path.mkdir), (fifo, os.mkfifo)):
        (old / path).unlink()
        make(old / path)
    (old / link).unlink()
    (old / link).symlink_to("/etc/passwd")

    ran = sites.sync("--saved")

    assert outcomes(ran) == {
        gone: "vanished",
        cut: "damaged",
        empty: "damaged",
        folder: "rejected",
        fifo: "rejected",
        link: "rejected",
    }
    assert ran.code == 6
    assert ran.counts["published"] == len(paths) - 6
    assert oracle.faults(contents(old), [new]) == []
    assert (new / touched).stat().st_mtime == 1_800_000_000
    assert {grown, rewritten, touched, lone} <= contents(new).keys()
    assert not temps(new)


def test_a_file_that_grew_far_beyond_its_plan_waits_for_the_next_scan(sites):
    """No byte of it is sent, however large it is by now; then its size is planned."""
    old, new = roots(sites)
    grown, *others = fill(old, range(3))
    sites.write()
    sites.run("scan", "old")
    write(old / grown, archive(1, 3 * MEBIBYTE))

    ran = sites.sync("--saved")

    assert (ran.code, outcomes(ran)) == (4, {grown: "changed"})
    assert all((new / path).exists() for path in others)
    assert sites.sync().code == 0
    assert contents(new) == contents(old)


@pytest.mark.parametrize(("spoil", "code"), [("gone", 4), ("whole", 0)])
def test_vanished_objects_alone_are_a_code_of_their_own(spoil, code, sites):
    """Exit 4 tells a cleaner at work from real trouble; a lost companion is none."""
    old, new = roots(sites)
    paths = fill(old, range(5))
    sites.write()
    sites.run("scan", "old")
    (old / (paths[2] if spoil == "gone" else f"{paths[2]}.siginfo")).unlink()

    assert sites.sync("--saved").code == code

    assert (paths[2] in contents(new)) is (spoil == "whole")


def grow(path: Path) -> None:
    """Append one more frame, as no writer should."""
    with path.open("ab") as file:
        file.write(archive(9, 1000))


def rewrite(path: Path) -> None:
    """Put other bytes of the same size into the same file."""
    with path.open("r+b") as file:
        file.write(archive(10, 3 * MEBIBYTE))


def replace(path: Path) -> None:
    """Put another file under the name."""
    draft = path.with_name("draft")
    draft.write_bytes(archive(11, 2 * MEBIBYTE))
    draft.rename(path)


def touch(path: Path) -> None:
    """Do what bitbake does on every hit."""
    os.utime(path, (1_800_000_000, 1_800_000_000))


def cut(path: Path) -> None:
    """Truncate it below what was read already."""
    os.truncate(path, 1000)


DURING: dict[Callable[[Path], None], tuple[str, bool]] = {
    grow: ("published", True),
    rewrite: ("published", True),
    replace: ("published", False),
    touch: ("published", True),
    Path.unlink: ("published", False),
    cut: ("damaged", True),
}
"""What happens to a file that is being read; what becomes of it; and if it is as it is now."""


def test_what_changes_while_it_is_read_is_never_mixed(sites):
    """A changed file is read again; a touched or unlinked one is whole as it is."""
    old, new = roots(sites)
    paths = fill(old, range(len(DURING)), size_bytes=3 * MEBIBYTE)
    before = contents(old)
    sites.write()
    sites.run("scan", "old")
    running = sites.start("sync", "old", "new", "--connections", "1", "--bwlimit", "4MB/s")
    todo = dict(zip(paths, DURING, strict=True))
    met = 0
    for path in reversed(paths):  # the newest go first
        wait_until_under_way(running, new / path)
        todo[path](old / path)
        met += 1

    ran = running.end()

    ran.check()
    after = contents(old)
    assert met == len(DURING)
    for path, change in todo.items():
        outcome, as_now = DURING[change]
        assert outcomes(ran).get(path, "published") == outcome
        if outcome == "published":
            assert contents(new)[path] == (after if as_now else before)[path], change
    assert ran.code == 6
    assert not temps(new)


def wait_until_under_way(running: Running, final: Path) -> None:
    """Wait until a good part of a file has arrived under a temporary name."""
    end = time.monotonic() + LIMIT_S
    while not any(temp.stat().st_size >= MEBIBYTE for temp in _temps_of(final)):
        assert running.process.poll() is None, "the run ended before the change"
        assert not final.exists(), "the change would come too late"
        assert time.monotonic() < end
        time.sleep(0.005)


def _temps_of(final: Path) -> list[Path]:
    return [path for path in final.parent.glob(".cm-*") if path.exists()]


def test_a_build_that_comes_first_while_we_copy_keeps_its_name(sites):
    """Whatever got the name between our question and our link stays, byte for byte."""
    old, new = roots(sites)
    (path,) = fill(old, [1], size_bytes=3 * MEBIBYTE)
    sites.write()
    running = sites.start("sync", "old", "new", "--bwlimit", "2MB/s")
    wait_until_under_way(running, new / path)
    write(new / path, archive(5, MEBIBYTE))

    ran = running.end()

    ran.check()
    assert (ran.code, ran.counts) == (0, {"foreign": 1})
    assert (new / path).read_bytes() == archive(5, MEBIBYTE)
    assert not temps(new)


class Bitbake(threading.Thread):
    """Publishes objects into a cache as bitbake does, until it is stopped."""

    def __init__(self, root: Path, numbers: Iterator[int], size_bytes: int) -> None:
        super().__init__(daemon=True)
        self.root = root
        self.numbers = numbers
        self.size_bytes = size_bytes
        self.published: dict[str, bytes] = {}
        self.stopped = threading.Event()

    def run(self) -> None:
        """Publish one object after the other, each as fast as can be."""
        for number in self.numbers:
            if self.stopped.is_set():
                return
            path = archive_path(number)
            for tail in (".sig", ".siginfo", ""):
                data = archive(number * 1000 + len(tail), self.size_bytes)
                self.publish(self.root / f"{path}{tail}", data)
            os.utime(self.root / path)
            time.sleep(0.002)  # leave something of the machine to others

    def publish(self, final: Path, data: bytes) -> None:
        """Link a temporary file, named after the final one, to its final name if that is free."""
        final.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix=final.name, dir=final.parent) as temp:
            temp.write(data)
            temp.flush()
            try:
                os.link(temp.name, final)
            except FileExistsError:
                return
        self.published[str(final.relative_to(self.root))] = data


@contextmanager
def at_work(*writers: Bitbake) -> Iterator[None]:
    """Let builds publish meanwhile."""
    for writer in writers:
        writer.start()
    try:
        yield
    finally:
        for writer in writers:
            writer.stopped.set()
        for writer in writers:
            writer.join(LIMIT_S)


def test_builds_at_both_sites_may_go_on(sites):
    """First come stays, nothing is half, and once it is quiet one run ends the job."""
    old, new = roots(sites)
    fill(old, range(300))
    shuffled = random.Random(1).sample(range(300), 300)
    at_source = Bitbake(old, iter(range(1000, 9000)), 2000)
    at_destination = Bitbake(new, iter([*shuffled, *range(9000, 20_000)]), 2500)
    with at_work(at_source, at_destination):
        ran = sites.sync()
        seen = contents(new)

    assert ran.code in {0, 4}, ran.err.decode()
    assert ran.counts["published"] > 0
    assert ran.counts["foreign"] > 0
    assert at_source.published
    assert at_destination.published
    again = sites.sync("--full")

    assert again.code == 0
    now, source = contents(new), contents(old)
    own = at_destination.published
    assert {path: now[path] for path in own} == {
        p: hashlib.sha256(d).hexdigest() for p, d in own.items()
    }
    assert {p for p, digest in now.items() if p not in own and digest != source[p]} == set()
    assert source.keys() <= now.keys()
    finals = {path: digest for path, digest in seen.items() if path in now}
    assert finals == {path: now[path] for path in finals}


def test_what_is_there_first_is_kept(sites):
    """Others' whole bytes: foreign by size, present by the same size; none is touched."""
    old, new = roots(sites)
    paths = fill(old, range(10))
    write(new / paths[0], archive(77, 2000), 1_900_000_000)
    write(new / paths[1], archive(78, 3000), 1_900_000_000)
    write(new / f"{paths[2]}.siginfo", archive(79, 90))
    before = {path: (new / path).stat() for path in contents(new)}
    bytes_before = contents(new)

    ran = sites.sync()

    assert ran.code == 0
    assert ran.counts == {"published": 9, "foreign": 1}  # paths[1] lacked its siginfo
    assert contents(new).items() >= bytes_before.items()
    assert {path: (new / path).stat().st_ino for path in before} == {
        path: status.st_ino for path, status in before.items()
    }
    assert {path: (new / path).stat().st_mtime for path in paths[:2]} == dict.fromkeys(
        paths[:2], 1_900_000_000
    )


def test_a_damaged_object_at_the_destination_is_told_set_aside_and_filled(sites):
    """Exit 6 names it; quarantine renames it; the next sync brings the whole one."""
    old, new = roots(sites)
    paths = fill(old, range(10))
    write(new / paths[3], archive(1, 3000)[:1500])
    write(new / paths[4], b"")
    sites.sync()

    ran = sites.sync()

    assert ran.code == 6
    assert outcomes(ran) == {paths[3]: "damaged", paths[4]: "damaged"}
    assert {event["server"] for event in ran.objects("damaged")} == {"nfs-9"}
    assert (new / paths[3]).stat().st_size == 1500
    assert sites.run("quarantine", "new", "--yes").code == 0
    assert not (new / paths[3]).exists()
    healed = sites.sync()
    assert (healed.code, healed.counts) == (0, {"published": 2, "present": 8})
    assert contents(new).items() >= contents(old).items()


def test_a_link_under_a_final_name_is_replaced(sites):
    """Dangling or not, it is no object; what it leads to is not touched."""
    old, new = roots(sites)
    paths = fill(old, range(6))
    elsewhere = sites.folder / "elsewhere"
    write(elsewhere, b"of another mirror")
    for path, target in (
        (paths[0], elsewhere),
        (paths[1], sites.folder / "gone"),
        (f"{paths[1]}.siginfo", sites.folder / "gone"),
        (paths[2], old / paths[2]),
    ):
        (new / path).parent.mkdir(parents=True) if not (new / path).parent.exists() else None
        (new / path).symlink_to(target)

    ran = sites.sync()

    assert (ran.code, ran.counts) == (0, {"published": 6})
    assert contents(new) == contents(old)
    assert elsewhere.read_bytes() == b"of another mirror"
    assert not temps(new)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_under_a_companions_name_is_told(make, sites):
    """Each run says so, and the archive waits for its companion; the rest arrives."""
    old, new = roots(sites)
    blocked, *others = fill(old, range(3))
    (new / blocked).parent.mkdir(parents=True)
    make(new / f"{blocked}.siginfo")

    runs = [sites.sync(), sites.sync()]

    assert [ran.code for ran in runs] == [3, 3]
    assert [outcomes(ran) for ran in runs] == [{blocked: "failed"}] * 2
    assert all("siginfo is not a regular file" in e["cause"] for e in runs[0].objects("failed"))
    assert all((new / path).exists() for path in others)


def test_links_at_the_source_are_copied_as_files_or_told(sites):
    """One that leads below a root of that site is resolved; no other is followed."""
    old, new = roots(sites)
    attic = sites.add("old", "nfs-2")
    whole = fill(attic / "sstate-2023", range(3))
    inside, outside, gone, loop, folder = (archive_path(number) for number in range(10, 15))
    secret = sites.folder / "secret.tar.zst"
    write(secret, archive(5, 100))
    for path, target in (
        (inside, attic / "sstate-2023" / whole[0]),
        (f"{inside}.siginfo", attic / "sstate-2023" / f"{whole[0]}.siginfo"),
        (outside, secret),
        (gone, attic / "sstate-2023" / "gone"),
        (loop, old / loop),
        (folder, attic / "sstate-2023"),
    ):
        (old / path).parent.mkdir(parents=True, exist_ok=True)
        (old / path).symlink_to(target)

    ran = sites.sync()

    assert ran.code == 0
    assert ran.left_out()["unresolved_link"] == 4
    arrived = contents(new)
    assert arrived[inside] == contents(attic)[f"sstate-2023/{whole[0]}"]
    assert f"{inside}.siginfo" in arrived
    assert not (new / inside).is_symlink()
    assert not {outside, gone, loop, folder} & arrived.keys()


def test_the_time_of_last_use_moves_forward_and_never_back(sites):
    """A later run brings it, since the cleaner at the new site goes by it."""
    old, new = roots(sites)
    used, unused, ahead = fill(old, range(3))
    assert sites.sync().code == 0
    os.utime(old / used, (1_800_000_000, 1_800_000_000))
    os.utime(old / f"{used}.siginfo", (1_800_000_000, 1_800_000_000))
    os.utime(new / ahead, (1_900_000_000, 1_900_000_000))

    ran = sites.sync("--full")

    assert (ran.code, ran.counts) == (0, {"present": 3})
    times = {path: (new / path).stat().st_mtime for path in contents(new)}
    assert times[used] == times[f"{used}.siginfo"] == 1_800_000_000
    assert times[unused] == (old / unused).stat().st_mtime
    assert times[ahead] == 1_900_000_000
