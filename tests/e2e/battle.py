"""Runs that are hit while they work, and what must be true after every blow."""

import hashlib
import json
import os
import random
import select
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import zstandard

from cachemig.demo.sshd import Sshd
from tests.e2e import oracle
from tests.e2e.sites import Ran, Running, Sites, temps, write

OBJECTS = 1500
"""With a siginfo for each these are 3,000 files: at least six batches."""
NOT_WRITING_THREADS = 2
"""An agent serves and beats; a writer has a thread that publishes as well."""
LOCK_LIMIT_S = 10.0
"""How long the lock may outlive a killed run: until the far agent notices the hang-up."""


class Blow(NamedTuple):
    """One kill -9, and what was so at that moment (G9: it hit something that was at work).

    Attributes:
        hit: the process was running, and this signal ended it.
        done: files under their final names before it.
        acknowledged: receipts of this very run before it.
        pending: files that were not there yet, after it.
    """

    hit: bool
    done: int
    acknowledged: int
    pending: int

    @property
    def amid_work(self) -> bool:
        """Whether something had been done, and something was left to do."""
        return self.hit and self.done > 0 and self.pending > 0


@dataclass
class Battlefield:
    """A site of one local server that is copied to a server behind an sshd of its own."""

    sites: Sites
    sshd: Sshd
    objects: int = OBJECTS
    manifest: dict[str, str] = field(default_factory=dict)
    foreign: dict[str, str] = field(default_factory=dict)

    def prepare(self) -> None:
        """Fill the old site; the new one holds something of others already."""
        old = self.sites.add("old", "old-1")
        new = self.sites.add("new", "new-1", sshd=self.sshd)
        fill_few_slots(old, range(self.objects))
        fill_few_slots(new, range(10_000_000, 10_000_010))
        (new / "readme.txt").write_text("kept by hand\n")
        self.manifest, self.foreign = oracle.digests(old), oracle.digests(new)
        self.sites.connections = 2
        self.sites.write()

    @property
    def roots(self) -> list[Path]:
        """The roots of the new servers."""
        return [server.root for server in self.sites.servers["new"]]

    def start(self, *options: str) -> Running:
        """Start a sync."""
        return self.sites.start("sync", "old", "new", *options)

    def done(self) -> int:
        """How many files have arrived."""
        folders = {path.rpartition("/")[0] for path in self.manifest}
        return sum(
            f"{folder}/{file.name}" in self.manifest
            for folder in folders
            if (self.roots[0] / folder).is_dir()
            for file in (self.roots[0] / folder).iterdir()
        )

    def pending(self) -> int:
        """How many files have not."""
        return len(oracle.missing(self.manifest, self.roots))

    def pending_bytes(self) -> int:
        """How large the files are that have not arrived."""
        lacking = oracle.missing(self.manifest, self.roots)
        old = self.sites.servers["old"][0].root
        return sum((old / path).stat().st_size for path in lacking)

    def receipts(self) -> list[dict[str, Any]]:
        """What was acknowledged, by all runs; a line that a kill cut short is none."""
        return list(_json_lines(self.sites.state / "receipts"))

    def hold(self) -> None:
        """Check what must be true at every moment, also while dying agents still work."""
        assert oracle.faults(self.manifest, self.roots, self.foreign) == []

    def agents(self) -> list[int]:
        """Process ids of the agents on the new server."""
        return [pid for pid in self.sshd.session_pids() if is_agent(pid)]

    def writers(self) -> list[int]:
        """Those of them that have a lane's temps or files open: they hold their own note."""
        return [pid for pid in self.agents() if _threads(pid) > NOT_WRITING_THREADS]

    def finish(self) -> Ran:
        """Run once more, plainly and at once: all is there, nothing twice, nothing left over."""
        lacking_bytes = self.pending_bytes()
        ran = self.sync_past_lock()
        self.hold()
        sent = [e["size_bytes"] for e in ran.events if e["type"] == "sync_progress"]
        assert sent[-1] <= lacking_bytes, "what was there was sent again"
        assert ran.code == 0, ran.err.decode()
        assert self.pending() == 0
        assert oracle.digests(self.sites.servers["old"][0].root) == self.manifest
        # A killed run's far agent may end after this run, and takes its temps with it.
        wait_until(lambda: not any(temps(root) for root in self.roots), "the end of all temps")
        self.nothing_sent_twice()
        return ran

    def sync_past_lock(self) -> Ran:
        """Sync; while the far agent of a killed run has not noticed yet, try again."""
        end = time.monotonic() + LOCK_LIMIT_S
        while True:
            ran = self.start().end()
            if ran.code != 9:
                ran.check()
                return ran
            print("the lock of a killed run was still held")
            assert time.monotonic() < end, "the lock outlives the run"

    def nothing_sent_twice(self) -> None:
        """What has a receipt was never published, nor even sent, by a later run."""
        places = Counter((row["server"], row["path"]) for row in self.receipts())
        assert [place for place, times in places.items() if times > 1] == []
        there = Counter(
            row["path"]
            for root in self.roots
            for row in _json_lines(root / ".cachemig" / "receipts")
        )
        assert [path for path, times in there.items() if times > 1] == []


def blow(field_: Battlefield, pid: int, run_id: str) -> Blow:
    """Kill -9 a process, and look what that did."""
    done = field_.done()
    acknowledged = len(list(_json_lines(field_.sites.state / "receipts", run_id)))
    hit = kill_and_wait(pid)
    return Blow(hit, done, acknowledged, field_.pending())


def fill_few_slots(root: Path, numbers: Iterable[int]) -> None:
    """Write many small objects into few directories, since only their number matters here."""
    packer = zstandard.ZstdCompressor(level=1, write_checksum=True)
    for number in numbers:
        digits = hashlib.sha256(str(number).encode()).hexdigest()
        hash_ = f"{number % 4:x}{number % 16:x}00{digits[4:]}"
        name = f"sstate:recipe-{number}:core2-64:1.0:r0:core2-64:14:{hash_}_package.tar.zst"
        folder = root / hash_[:2] / "00"
        write(folder / name, packer.compress(digits.encode() * (1 + number % 7)))
        write(folder / f"{name}.siginfo", packer.compress(digits.encode()))


def run_id_of(sites: Sites) -> str:
    """The run that began last."""
    runs = sorted((sites.state / "runs").glob("*.jsonl"), key=lambda p: p.stat().st_mtime_ns)
    return runs[-1].stem if runs else ""


def kill_and_wait(pid: int, limit_s: float = 10.0) -> bool:
    """End a process; tells whether it was at work, and not already dead."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if not alive(pid):
            return False
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        assert poller.poll(limit_s * 1000)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}


def descendants(pid: int) -> Iterator[int]:
    """Process ids of all children and theirs, parents first."""
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(word) for word in task.read_text().split()]
        except OSError:
            continue
        for child in children:
            yield child
            yield from descendants(child)


def argv_of(pid: int) -> list[str]:
    """The words a process was started with; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
    except OSError:
        return []


def _threads(pid: int) -> int:
    try:
        return len(list(Path(f"/proc/{pid}/task").iterdir()))
    except OSError:
        return 0


def is_agent(pid: int) -> bool:
    """Whether a process is one of our agents."""
    return "-I" in argv_of(pid) and "-S" in argv_of(pid) and not is_ssh(pid)


def is_ssh(pid: int) -> bool:
    """Whether a process is an ssh client."""
    return argv_of(pid)[:1] == ["ssh"]


def wait_until(true: Callable[[], object], what: str, limit_s: float = 30.0) -> None:
    """Look again and again until something is so."""
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end, f"{what} did not come in {limit_s} s"
        time.sleep(0.25)


def new_seed() -> int:
    """A seed that is printed, so that a failure can be had again; given, that one."""
    seed = int(os.environ.get("CACHEMIG_TEST_SEED") or random.randrange(2**32))
    print(f"CACHEMIG_TEST_SEED={seed}")
    return seed


def _json_lines(folder: Path, run_id: str = "") -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob(f"{run_id}*.jsonl")):
        for line in path.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                yield json.loads(line)
