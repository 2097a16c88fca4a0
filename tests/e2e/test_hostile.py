"""Names and links that mean harm: told safely, never followed, never obeyed."""

import ctypes
import os
import random
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e import oracle
from tests.e2e.sites import Sites, archive, archive_path, contents, fill, printable_lines, write

RENAME_EXCHANGE = 2
AT_FDCWD = -100
SWAPS_AT_LEAST = 1000
RUNS_AT_MOST = 30
DIGITS = "ab" * 32
PLACE = f"{DIGITS[:2]}/{DIGITS[2:4]}"


def named(pn: str, target: str = "x") -> str:
    """The base name of an archive of a recipe with any name."""
    return f"sstate:{pn}:{target}:1.0:r0:x:14:{DIGITS}_package.tar.zst"


REJECTED = [
    named("new\nline"),
    named("clear\x1b[2J\x1b]52;c;aGk=\x07"),
    named("bidi\u202egpj"),
    named("c1\x9b31m"),
    named("bell\x07"),
    named("not-utf8-\udcff\udcfe"),
    named("delete\x7f"),
    named("x" * (255 - len(named("")))),
]
OTHER = ["-rf", "--", "$(touch pwned)", "; touch pwned", "sstate:..", "~root", "*"]
GOOD = [
    named("$(touch pwned)"),
    named("a;touch pwned&&'\"`touch pwned`"),
    named("-rf"),
    named("%s%n{0}"),
    named("päckchen"),
    named("back\\slash\\x1b"),
    named("two  spaces "),
    named("x" * (246 - len(named("")))),
]
"""Strange, but an object's: these travel."""


@pytest.fixture
def sites(tmp_path, sshd) -> Sites:
    """A server behind ssh, and a folder."""
    sites = Sites(tmp_path)
    sites.add("old", "nfs-1", sshd=sshd)
    sites.add("new", "nfs-9")
    return sites


def roots(sites: Sites) -> tuple[Path, Path]:
    """Where the files of the old and of the new server lie."""
    return sites.servers["old"][0].root, sites.servers["new"][0].root


def test_names_are_told_safely_and_never_obeyed(sites):
    """Nothing on any output moves a cursor; nothing is run; an object's name travels whole."""
    old, new = roots(sites)
    for name in (*REJECTED, *OTHER):
        write(old / PLACE / name, archive(1, 100))
    for number, name in enumerate(GOOD):
        write(old / PLACE / name, archive(number, 500))
        write(old / PLACE / f"{name}.siginfo", archive(number, 50))
    write(old / "$(touch pwned)" / archive_path(1), archive(2, 500))
    write(old / "new\nline" / archive_path(2), archive(3, 500))

    ran = sites.sync()

    assert (ran.code, ran.counts) == (0, {"published": len(GOOD) + 1})
    assert ran.left_out() == {"stray": len(REJECTED) + len(OTHER) + 1}
    assert {Path(path).name for path in contents(new) if not path.endswith(".siginfo")} == {
        *GOOD,
        Path(archive_path(1)).name,
    }
    assert oracle.faults(contents(old), [new]) == []
    for arguments in (
        ["inventory", "show", "old", "--strays"],
        ["scan", "old", "--full", "--verbose"],
        ["verify", "presence", "old", "new"],
        ["verify", "integrity", "new", "--verbose"],
    ):
        told = as_text(sites, arguments)
        assert told.returncode == 0
        assert printable_lines(told.stdout), told.stdout
        assert printable_lines(told.stderr), told.stderr
    assert all(printable_lines(log) for log in sites.logs())
    assert not [*sites.folder.rglob("pwned"), *Path.cwd().glob("pwned")]


def as_text(sites: Sites, arguments: list[str]) -> "subprocess.CompletedProcess[bytes]":
    """Run a command as people do, without --json."""
    return subprocess.run(
        [sys.executable, "-m", "cachemig", *arguments],
        cwd=sites.folder,
        check=False,
        capture_output=True,
        timeout=60,
    )


def test_what_is_no_file_hangs_nothing(sites):
    """Pipes, sockets and devices named like objects, at both ends, are told and left alone."""
    old, new = roots(sites)
    paths = fill(old, range(6))
    for number, root in enumerate((old, new)):
        pipe = root / archive_path(10 + number)
        pipe.parent.mkdir(parents=True)
        os.mkfifo(pipe)
    (new / paths[0]).parent.mkdir(parents=True)
    os.mkfifo(new / paths[0])
    (new / paths[1]).mkdir(parents=True)
    if os.geteuid() == 0:
        os.mknod(old / archive_path(10).replace("recipe", "device"), stat.S_IFCHR, os.makedev(1, 5))

    ran = sites.sync()

    assert (ran.code, ran.counts) == (3, {"published": 4, "failed": 2})
    assert {e["path"]: e["cause"] for e in ran.objects("failed")} == dict.fromkeys(
        paths[:2], "there already: it is not a regular file"
    )
    assert (new / paths[0]).is_fifo()
    assert (new / paths[1]).is_dir()


def exchange(one: Path, other: Path) -> None:
    """Let two names change places in one step."""
    libc = ctypes.CDLL(None, use_errno=True)
    names = (os.fsencode(one), os.fsencode(other))
    if libc.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) != 0:
        raise OSError(ctypes.get_errno(), "renameat2")


class Swapper(threading.Thread):
    """Lets directories and links change places, as fast as it can."""

    def __init__(self, directories: list[Path], outside: Path) -> None:
        super().__init__(daemon=True)
        self._pairs = []
        for directory in directories:
            link = directory.with_name(f"{directory.name}.link")
            link.symlink_to(outside / directory.name)
            self._pairs.append((directory, link))
        self.swaps = 0
        self.stopped = threading.Event()

    def run(self) -> None:
        """Swap all, over and over; at the end everything is in its place."""
        pauses = random.Random(1)
        while not self.stopped.is_set():
            for _ in range(2):
                for directory, link in self._pairs:
                    exchange(directory, link)
                    self.swaps += 1
                self.stopped.wait(pauses.uniform(0, 0.03))


@contextmanager
def swapping(directories: list[Path], outside: Path) -> Iterator[Swapper]:
    """Swap meanwhile."""
    swapper = Swapper(directories, outside)
    swapper.start()
    try:
        yield swapper
    finally:
        swapper.stopped.set()
        swapper.join(10)


def outside_of(root: Path, folder: Path, paths: list[str]) -> Path:
    """A folder beside the roots with other bytes under the objects' names."""
    outside = folder / f"outside-{root.name}"
    for path in paths:
        write(outside / path, b"secret")
        write(outside / f"{path}.siginfo", b"secret")
    return outside


def test_links_that_are_swapped_in_lead_nowhere(sites):
    """While slots flip to links at both ends, nothing outside is read or written."""
    old, new = roots(sites)
    paths = fill(old, range(400))
    sites.write()
    assert sites.run("scan", "old").code == 0
    outside_old = outside_of(old, sites.folder, paths)
    outside_new = sites.folder / "outside-new"
    slots = sorted({Path(path).parts[0] for path in paths})
    for slot in slots:
        (new / slot).mkdir()
        (outside_new / slot).mkdir(parents=True)
    before = contents(outside_old)
    fates: set[str] = set()
    with swapping([old / s for s in slots], outside_old) as swapper:
        with swapping([new / s for s in slots], outside_new):
            for _ in range(RUNS_AT_MOST):
                fates |= sites.sync("--saved").counts.keys()
                if {"published", "failed"} <= fates:
                    break
        scanned = sites.run("scan", "old", "--full")

    assert swapper.swaps >= SWAPS_AT_LEAST
    assert {"published", "failed"} <= fates
    assert scanned.code in {0, 3}
    assert contents(outside_old) == before
    assert not contents(outside_new)
    assert oracle.faults(contents(old), [new]) == []
    for link in [*old.glob("*.link"), *new.glob("*.link")]:
        link.unlink()
    assert sites.sync("--full").code == 0
    assert contents(new) == contents(old)


def test_a_slot_that_is_a_link_fails_the_scan(sites):
    """Nothing behind it is copied, and what is behind it is not taken for gone."""
    old, new = roots(sites)
    paths = fill(old, range(5))
    outside = outside_of(old, sites.folder, paths)
    slot = Path(paths[0]).parts[0]
    (old / slot).rename(old / "kept-aside")
    (old / slot).symlink_to(outside / slot)

    ran = sites.sync()

    assert (ran.code, ran.error["slug"], ran.error["path"]) == (3, "scan", slot)
    assert not contents(new)
