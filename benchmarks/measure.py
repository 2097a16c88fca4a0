"""Times copies one at a time on a quiet disk, and checks what came of each."""

import os
import resource
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from benchmarks.competitors import Copier, Job
from benchmarks.dataset import Dataset, digests, walk

BLACKOUT_S = 5.0
LEAST_FREE_BYTES = 8_000_000_000
PROBE_FILES = 1_000
LEAST_CREATES_PER_S = 3_000
PROBE_INTERVAL_S = 10
PROBE_LIMIT_S = 180


class Result(NamedTuple):
    """One timed run.

    Attributes:
        scenario: under which conditions.
        copier: who ran.
        seconds: wall time; for a copier that got a part of the files, scaled to all of them.
        cpu_s: processor time of both ends together; nobody else's load is in it.
        wire_bytes: what the far end received, headers and all, unscaled.
        memory_bytes: the most that the controlling process held; 0 where that is not asked.
        problem: why the run does not count; empty for a good one.
    """

    scenario: str
    copier: str
    seconds: float
    cpu_s: float = 0.0
    wire_bytes: int = 0
    memory_bytes: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Bench:
    """Where measurements keep their files.

    Attributes:
        shelf: data sets and programs that the next run uses again.
        scratch: what this run alone needs; it is new, and removed at the end.
        rounds: how often each copier runs.
    """

    shelf: Path
    scratch: Path
    rounds: int

    def destination(self, name: str) -> Path:
        """Name a new folder to copy to."""
        return self.scratch / "to" / f"{name}-{uuid.uuid4().hex[:8]}"


def timed_copy(
    bench: Bench, scenario: str, copier: tuple[str, Copier], job: Job, *, blackout: bool = False
) -> Result:
    """Time one copy, then compare every file with what it must be."""
    name, copy = copier
    calm(bench, job.source, keep=job.destination)
    received_before, _ = job.link.bytes_on_wire()
    problem = ""
    cpu_before_s = cpu_of_both_ends_s(job)
    started = time.monotonic()
    try:
        with blackout_in_the_middle(job) if blackout else nothing():
            copy(job)
    except Exception as error:  # noqa: BLE001  the other copiers are measured all the same
        problem = f"{type(error).__name__}: {error}"
    seconds = time.monotonic() - started
    cpu_s = cpu_of_both_ends_s(job) - cpu_before_s
    wire_bytes = job.link.bytes_on_wire()[0] - received_before
    problem = problem or what_differs(job)
    return Result(scenario, name, seconds, cpu_s, wire_bytes, problem=problem)


def cpu_of_both_ends_s(job: Job) -> float:
    """Processor time of all that was started at the near end, or by the far end's sshd."""
    return children_cpu_s() + job.link.far_cpu_s()


def children_cpu_s() -> float:
    """Processor time of every program that we started and that has ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


@contextmanager
def nothing() -> Iterator[None]:
    """Do nothing around a copy."""
    yield


@contextmanager
def blackout_in_the_middle(job: Job) -> Iterator[None]:
    """Cut the link for five seconds once half of the bytes have arrived.

    Raises:
        AssertionError: the copy ended before the link was cut.
    """
    received_before, _ = job.link.bytes_on_wire()
    is_over, was_cut = threading.Event(), threading.Event()

    def cut() -> None:
        while not is_over.wait(0.1):
            if job.link.bytes_on_wire()[0] - received_before < job.source.total_bytes / 2:
                continue
            job.link.cut(down=True)
            was_cut.set()
            time.sleep(BLACKOUT_S)
            job.link.cut(down=False)
            return

    cutter = threading.Thread(target=cut)
    cutter.start()
    try:
        yield
    finally:
        is_over.set()
        cutter.join()
    assert was_cut.is_set(), "the copy ended before the link was cut"


def what_differs(job: Job) -> str:
    """Read every file back from the disk and compare; the page cache is left as it was."""
    os.sync()
    arrived = digests(job.destination)
    forget_pages(job.destination)
    if arrived == job.source.sha256:
        return ""
    missing = len(job.source.sha256.keys() - arrived.keys())
    surplus = len(arrived.keys() - job.source.sha256.keys())
    wrong = sum(arrived[path] != sha for path, sha in job.source.sha256.items() if path in arrived)
    return f"{missing} files missing, {surplus} too many, {wrong} with other bytes"


def forget_pages(root: Path) -> None:
    """Drop a folder's files from the page cache, so that those of the source stay there."""
    for path in walk(root):
        fd = os.open(root / path, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def calm(bench: Bench, source: Dataset, *, keep: Path) -> None:
    """Give every copier the same start: all written back, the source in memory, a quick disk.

    ext4 does not use an inode again within a minute of its removal, and looks at each such
    inode when it makes a file: after a large removal any copier is slow. So results are kept
    until the end, and a disk that somebody else made slow is waited for.

    Source: Linux fs/ext4/ialloc.c, recently_deleted().
    """
    if shutil.disk_usage(bench.scratch).free < LEAST_FREE_BYTES:
        for folder in (bench.scratch / "to").glob("*"):
            if not folder.name.startswith(keep.name):
                shutil.rmtree(folder, ignore_errors=True)
    os.sync()
    deadline = time.monotonic() + PROBE_LIMIT_S
    while creates_per_s(bench) < LEAST_CREATES_PER_S and time.monotonic() < deadline:
        time.sleep(PROBE_INTERVAL_S)
    for path in source.sha256:
        (source.root / path).read_bytes()
    os.sync()


def creates_per_s(bench: Bench) -> float:
    """How many files, each in a folder of its own, this disk makes in a second just now."""
    folder = bench.destination("probe")
    started = time.monotonic()
    for number in range(PROBE_FILES):
        one = folder / str(number)
        one.mkdir(parents=True)
        (one / "file").touch()
    return PROBE_FILES / (time.monotonic() - started)
