"""A real cache moves from one server to two of different weight, over real sshd.

The names are all those of a real cache, the bytes those of its sample in tests/data; what
the sample does not hold gets a made archive or signature under its real name. Every kind
of stray that is ever found in a cache is put in between.
"""

import os
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from cachemig.demo.sshd import Sshd, start
from tests.e2e import oracle
from tests.e2e.sites import Ran, Sites, archive, contents, temps, write
from tests.real_lists import paths_of, unpack_subset

FOLDER = "v95-sstate-cache"
DIGITS = "0123456789abcdef" * 4
SPARE = f"sstate:spare:core2-64:1.0:r0:core2-64:14:{DIGITS}_package.tar.zst"
IN_ITS_PLACE = f"{DIGITS[:2]}/{DIGITS[2:4]}"
STRAY_FILES = {
    "writer_temp": [f"{SPARE}k_z81qbf", f"{SPARE}.kZ81Qbfw"],
    "download_temp": [f"{SPARE}.tmp"],
    "lock": [f"{SPARE}.lock"],
    "done": [f"{SPARE}.done", f"{SPARE}.siginfo.done"],
    "bad_checksum": [f"{SPARE}_bad-checksum_5d41402abc4b2a76b9719d911017c592"],
    "signing_temp": [f"tmpq7f_x2ab/{SPARE}", f"tmpq7f_x2ab/{SPARE}.sig"],
    "siginfo_temp": ["sigtask.a1b2c3d4e5a1b2c3d4e5zq81xk_f"],
    "nfs_removed": [".nfs00000000018a2b3c0000000f"],
    "hash_database": ["hashserv.db", "hashserv.db-wal", "hashserv.db-shm"],
    "invalid_hash": [SPARE.replace(DIGITS, "INVALID")],
    "own_temp": [".cm-0123456789ab-1"],
    "own_aside": [".cm-aside-0123456789abcdef"],
    "rejected": [f"{SPARE}\n", f"{SPARE}\x1b[2J", "sstate:\udcff:bad"],
    "other": [
        "notes-of-an-admin.txt",
        "a-directory/README",
        SPARE.upper(),
        f"{SPARE}.siginfok_z81qbf",
    ],
}


class Moved:
    """What was there before, and the runs that moved it."""

    def __init__(self, sites: Sites, old: Path, strays: Counter[str]) -> None:
        self.sites = sites
        self.old = old
        self.strays = strays
        self.before = contents(old)
        self.first = sites.sync()
        self.arrived = sites.arrived()

    def again(self) -> Ran:
        """Run the same command once more."""
        return self.sites.sync()


@pytest.fixture(scope="module")
def moved(tmp_path_factory, new_sshd_pair) -> Moved:
    """The real cache with strays, after one sync."""
    near, far = new_sshd_pair
    sites = Sites(tmp_path_factory.mktemp("real"), caches={"lmp-95": FOLDER})
    old = sites.add("old", "nfs-1", sshd=near)
    sites.add("new", "nfs-8", sshd=far, weight=2.0)
    sites.add("new", "nfs-9", sshd=far, weight=1.0)
    lay_real_names(old / FOLDER)
    return Moved(sites, old, add_strays(old))


@pytest.fixture(scope="module")
def new_sshd_pair(tmp_path_factory, oldest_python) -> Iterator[tuple[Sshd, Sshd]]:
    """One sshd for each site, with keys of its own."""
    old = start(tmp_path_factory.mktemp("sshd"), python=oldest_python)
    new = start(tmp_path_factory.mktemp("sshd"), python=oldest_python)
    yield old, new
    old.stop()
    new.stop()


def lay_real_names(cache: Path) -> None:
    """Write a file for every name of the real cache; the sample's files with their own bytes."""
    real = set(unpack_subset(cache))
    for number, path in enumerate(paths_of("rig-all-cache")):
        if path not in real:
            size_bytes = 300 + 37 * (number % 400)
            write(cache / path, archive(number, size_bytes), 1_750_000_000 + number)


def add_strays(root: Path) -> Counter[str]:
    """Put every kind of stray into the cache; returns how many of each kind."""
    place = root / FOLDER / IN_ITS_PLACE
    for names in STRAY_FILES.values():
        for name in names:
            write(place / name, archive(1, 100))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "s"))
    (root / "s").rename(place / SPARE.replace("spare", "socket"))
    os.mkfifo(place / SPARE.replace("spare", "fifo"))
    (place / SPARE.replace("spare", "gone")).symlink_to("/mnt/retired-mirror/gone")
    write(root / FOLDER / "00" / "00" / SPARE.replace("spare", "misplaced"), archive(1, 100))
    counts = Counter({kind: len(names) for kind, names in STRAY_FILES.items()})
    counts["other"] += 2  # socket and fifo
    return counts


def test_nothing_is_lost(moved):
    """Every object of the real list lies at the new site, byte for byte."""
    wanted = {f"{FOLDER}/{path}" for path in paths_of("rig-all-cache")}

    assert moved.first.code == 0, moved.first.err
    assert moved.arrived.keys() == wanted
    assert not oracle.faults(moved.before, [server.root for server in moved.sites.servers["new"]])
    assert moved.first.counts == {"published": len({_object_of(path) for path in wanted})}


def test_each_object_lies_where_the_map_says(moved):
    """The heavier server has about twice as much, and a slot is never divided."""
    by_server = {s.name: contents(s.root) for s in moved.sites.servers["new"]}
    slots = {name: {_slot_of(path) for path in found} for name, found in by_server.items()}

    assert not slots["nfs-8"] & slots["nfs-9"]
    assert len(by_server["nfs-8"]) > 1.5 * len(by_server["nfs-9"]) > 0


def test_times_and_modes_are_those_that_bitbake_wants(moved):
    """The time of last use is kept; files are for the group, directories hand it on."""
    for server in moved.sites.servers["new"]:
        for path in contents(server.root):
            copied, source = (server.root / path).stat(), (moved.old / path).stat()
            assert copied.st_mtime_ns == source.st_mtime_ns
            assert copied.st_mode & 0o7777 == 0o664
            assert (server.root / path).parent.stat().st_mode & 0o7777 == 0o2775


def test_strays_stay_behind_and_are_counted(moved):
    """By kind in the inventory, and in one sum in the plan; so is what no build would find."""
    shown = moved.sites.run("inventory", "show", "old", "--by", "stray")
    rows = [event["values"] for event in shown.events if event["type"] == "row"]

    assert {row["stray"]: row["files"] for row in rows} == moved.strays
    assert moved.first.left_out() == {
        "stray": moved.strays.total(),
        "unresolved_link": 1,
        "misplaced": 1,
    }


def test_the_old_site_is_as_it_was(moved):
    """A source is only read."""
    assert contents(moved.old) == moved.before


def test_it_is_proved_present_and_whole(moved):
    """By the map, and against the receipts."""
    assert moved.sites.run("verify", "presence", "old", "new").code == 0
    assert moved.sites.run("verify", "integrity", "new").code == 0


def test_a_second_run_sends_nothing(moved):
    """Everything is there, and no temporary file was left."""
    again = moved.again()

    assert again.code == 0
    assert again.counts == {"present": moved.first.counts["published"]}
    assert not [temp for s in moved.sites.servers["new"] for temp in temps(s.root)]


def _object_of(path: str) -> str:
    return path.removesuffix(".siginfo").removesuffix(".sig")


def _slot_of(path: str) -> str:
    return Path(path).parts[-3]
