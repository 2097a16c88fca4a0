"""Disks that are full, read-only, forbidden or broken: told plainly, nothing broken, resumable."""

import os
from pathlib import Path

import pytest

from tests.e2e import oracle
from tests.e2e.sites import OWN_DIRECTORY, Ran, Sites, archive_path, contents, fill, temps

EIO, EACCES, ENOSPC, EROFS, EDQUOT = 5, 13, 28, 30, 122
OBJECTS = 120
FOLDER = "cache"


@pytest.fixture
def sites(tmp_path) -> Sites:
    """One old server with 12 MB of objects, and two new ones that get half each."""
    sites = Sites(tmp_path, caches={"default": FOLDER})
    fill(sites.add("old", "nfs-1") / FOLDER, range(OBJECTS), size_bytes=100_000)
    sites.add("new", "nfs-8")
    sites.add("new", "nfs-9")
    return sites


def old_root(sites: Sites) -> Path:
    """Where the old server's files lie."""
    return sites.servers["old"][0].root


def new_roots(sites: Sites) -> list[Path]:
    """Where the new servers' files lie."""
    return [server.root for server in sites.servers["new"]]


def nothing_is_broken(sites: Sites) -> None:
    """What arrived is whole and what the source has; no temporary file was left."""
    assert oracle.faults(oracle.digests(old_root(sites)), new_roots(sites)) == []
    assert [temp for root in new_roots(sites) for temp in temps(root)] == []


def finishes(sites: Sites, *options: str) -> None:
    """The same command again brings the rest, and only that."""
    there = len([path for path in sites.arrived() if path.endswith(".zst")])

    ran = sites.sync(*options)

    assert ran.code == 0, ran.err.decode()
    assert sites.arrived() == contents(old_root(sites))
    assert ran.counts.get("present", 0) >= there - 2 * sites.connections
    nothing_is_broken(sites)


def tells(ran: Ran, server: str, cause: str) -> None:
    """The error names server, file or directory, cause and what to do, in both outputs."""
    told = ran.error
    assert told["server"] == server
    assert cause in told["cause"]
    assert told["next_step"]
    for word in (server, cause, "next: ", "docs/messages.md#"):
        assert word in ran.err.decode()


@pytest.mark.parametrize(
    ("small", "large"),
    [("size=4m", "size=64m"), ("nr_inodes=70", "nr_inodes=100k")],
    ids=["bytes", "inodes"],
)
def test_a_full_server_stops_only_itself(small, large, sites, tmpfs):
    """Exit 10; the other server gets all of its own; with space, the same command ends it."""
    from tests.servers.disks import remount

    full, other = new_roots(sites)
    tmpfs(full, small)

    ran = sites.sync()

    assert ran.code == 10, ran.err.decode()
    tells(ran, "nfs-8", "No space left on device")
    assert ran.error["path"]
    assert 0 < len(contents(full)) < OBJECTS
    assert contents(full).keys() | contents(other).keys() < contents(old_root(sites)).keys()
    assert len(contents(other)) >= OBJECTS / 2
    nothing_is_broken(sites)
    remount(full, large)
    finishes(sites)


def test_a_quota_is_a_full_disk(sites, faulty_disk):
    """EDQUOT ends like ENOSPC: exit 10 and the server's name."""
    disk = faulty_disk(new_roots(sites)[0])
    disk.fail(f"write {EDQUOT} 50 .cm-")

    ran = sites.sync()

    assert disk.struck("write")
    assert ran.code == 10
    tells(ran, "nfs-8", "Disk quota exceeded")
    nothing_is_broken(sites)
    disk.fail()
    finishes(sites)


def test_a_read_only_server_is_refused_at_once(sites, tmpfs):
    """Exit 7 with the kernel's words, and nothing is sent there."""
    from tests.servers.disks import remount

    tmpfs(new_roots(sites)[0], "size=64m")
    remount(new_roots(sites)[0], "ro")

    ran = sites.sync()

    assert ran.code == 7
    tells(ran, "nfs-8", "Read-only file system")


def test_writes_that_fail_in_the_middle_of_a_file_break_nothing(sites, faulty_disk):
    """Each object is published whole or counted as failed; a run on the mended disk ends it."""
    disk = faulty_disk(new_roots(sites)[0])
    disk.fail(f"write {EIO} 8 .cm-")

    ran = sites.sync()

    assert disk.struck("write")
    assert ran.code == 3
    failed = ran.objects("failed")
    assert 0 < len(failed) == ran.counts["failed"] < ran.counts["published"]
    assert {event["server"] for event in failed} == {"nfs-8"}
    assert all("Input/output error" in event["cause"] for event in failed)
    missing = oracle.missing(contents(old_root(sites)), new_roots(sites))
    assert {path.removesuffix(".siginfo") for path in missing} == {e["path"] for e in failed}
    nothing_is_broken(sites)
    disk.fail()
    finishes(sites)


def test_whatever_the_disk_refuses_breaks_nothing(sites, faulty_disk):
    """Any step of publishing may fail now and then; the other objects arrive."""
    disk = faulty_disk(new_roots(sites)[0])
    steps = {"create": ".cm-", "unlink": ".cm-", "utimens": ".cm-", "link": f"/{FOLDER}/"}
    steps |= {"mkdir": f"/{FOLDER}/", "chmod": f"/{FOLDER}/"}
    disk.fail(*(f"{step} {EIO} 6 {part}" for step, part in steps.items()))

    ran = sites.sync()

    assert all(disk.struck(step) for step in steps)
    assert ran.code == 3, ran.err.decode()
    assert 0 < ran.counts["failed"] < ran.counts["published"]
    assert oracle.faults(contents(old_root(sites)), new_roots(sites)) == []
    disk.fail()
    finishes(sites)


def test_what_is_not_durable_is_not_acknowledged(sites, faulty_disk):
    """A root on a FUSE mount is synced file by file; when fsync fails, nothing is published."""
    disk = faulty_disk(new_roots(sites)[0])
    disk.fail(f"fsync {EIO} 100 .cm-")

    ran = sites.sync()

    assert disk.struck("fsync")
    assert ran.code == 3
    assert not contents(disk.below)
    assert all("Input/output error" in event["cause"] for event in ran.objects("failed"))
    nothing_is_broken(sites)
    disk.fail()
    finishes(sites)


def test_short_writes_are_completed(sites, faulty_disk):
    """A disk that takes half of every write gets the other half too."""
    disk = faulty_disk(new_roots(sites)[0])
    disk.fail("short write 60 .cm-")

    ran = sites.sync()

    assert disk.struck("write")
    assert ran.code == 0
    assert sites.arrived() == contents(old_root(sites))


def test_bytes_that_the_disk_turned_are_found_by_verify(sites, faulty_disk):
    """What was written differs from our receipt: exit 6, and the file is named."""
    disk = faulty_disk(new_roots(sites)[0])
    disk.fail("flip write 5 .cm-")
    assert sites.sync().code == 0
    source = contents(old_root(sites))
    turned = {path for path, digest in sites.arrived().items() if source[path] != digest}

    ran = sites.run("verify", "integrity", "new")

    assert disk.struck("write") == len(turned) > 0
    assert ran.code == 6
    findings = [e["values"] for e in ran.events if e["type"] == "row" and e["table"] == "finding"]
    assert {finding["path"] for finding in findings} == turned


def test_a_file_that_can_not_be_read_is_one_file(sites, faulty_disk):
    """Exit 3; the object is named with the cause, and all others arrive."""
    disk = faulty_disk(old_root(sites))
    broken = f"{FOLDER}/{archive_path(7)}"
    disk.fail(f"read {EIO} 100 {broken}")

    ran = sites.sync()

    assert disk.struck("read")
    assert ran.code == 3
    (failed,) = ran.objects("failed")
    assert (failed["path"], failed["cause"]) == (broken, "Input/output error")
    assert ran.counts == {"published": OBJECTS - 1, "failed": 1}
    disk.fail()
    finishes(sites)


@pytest.mark.parametrize("left_kib", [0, 60, 130])
def test_a_full_state_directory_stops_the_run(left_kib, sites, tmpfs, tmp_path):
    """Exit 10 at whatever point that is; nothing is copied that is not recorded somewhere."""
    state = tmp_path / "state"
    state.mkdir()
    tmpfs(state, "size=64m")
    sites.state_dir = str(state)
    assert sites.sync("--dry-run").code == 0
    filler = state / "filler"
    free = os.statvfs(state)
    filler.write_bytes(bytes(free.f_bavail * free.f_frsize - left_kib * 1024))

    ran = sites.start("sync", "old", "new").end()

    assert ran.code == 10, ran.err.decode()
    assert b"Traceback" not in ran.err + ran.out
    assert b"next: " in ran.err
    nothing_is_broken(sites)
    filler.unlink()
    finishes(sites)
    receipts = b"".join(
        path.read_bytes() for root in new_roots(sites) for path in root.rglob("receipts/*.jsonl")
    )
    assert all(path.encode() in receipts for path in sites.arrived())


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        (f"write {EDQUOT} 100 .scratch-", 10),
        (f"mkdir {EACCES} 100 .scratch-", 2),
        (f"rename {EROFS} 100 .parquet", 2),
        (f"write {EDQUOT} 100 receipts", 10),
        (f"create {EACCES} 100 receipts", 1),
    ],
)
def test_what_the_disk_of_the_state_refuses_is_told_with_its_file(
    rule, code, sites, faulty_disk, tmp_path
):
    """It is no fault of the program; mended, the same command goes on."""
    state = tmp_path / "state"
    state.mkdir()
    disk = faulty_disk(state)
    sites.state_dir = str(state)
    sites.write()
    assert sites.run("shards", "init", "new").code == 0
    disk.fail(rule)

    ran = sites.start("sync", "old", "new").end()

    assert ran.code == code, ran.err.decode()
    assert ran.error["slug"] != "internal"
    assert ran.error["path"].startswith(str(state))
    assert os.strerror(int(rule.split()[1])) in ran.error["cause"]
    assert "state_dir" in ran.error["next_step"]
    nothing_is_broken(sites)
    disk.fail()
    finishes(sites)


def test_own_files_are_apart(sites):
    """A new root holds objects in their directories, and one folder of ours."""
    assert sites.sync().code == 0

    assert {p.name for root in new_roots(sites) for p in root.iterdir()} == {OWN_DIRECTORY, FOLDER}
