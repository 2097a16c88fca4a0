"""What is measured under which conditions. Each scenario yields its results as it gets them."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from benchmarks import competitors, ours
from benchmarks.competitors import Copier, Job
from benchmarks.dataset import Dataset, Shape, digests, provide, subset, write
from benchmarks.link import LinkShape, link_up
from benchmarks.measure import Bench, Result, calm, children_cpu_s, timed_copy

OURS = "cachemig"
COPY_LIMIT_S = 600.0
MEMORY_LIMIT_S = 1_800.0
PROMISED_MEMORY_BYTES = 300_000_000
RCLONE_FILES = 1_500
HOTTEST = 100
HELP_RUNS = 10
# Small files, so that a cache of 200,000 is made in a minute: here names count, not bytes.
WIDE = Shape(
    objects=100_000, total_bytes=500_000_000, median_archive_bytes=1_000, median_siginfo_bytes=1_500
)
ONE_PERCENT = Shape(
    objects=1_000, total_bytes=30_000_000, median_archive_bytes=10_000, median_siginfo_bytes=9_000
)

COPIERS: Mapping[str, Copier] = {
    OURS: ours.sync,
    "rsync -a": competitors.rsync,
    "rsync, sync, rsync -c": competitors.rsync_proved,
    "tar | ssh tar": competitors.tar,
    "8 tars": competitors.tars,
    "8 rsyncs": competitors.rsyncs,
    "rclone": competitors.rclone,
}
WAN = LinkShape()
LOSSY = LinkShape(loss_percent=0.1, gso=False, congestion="cubic")
LOOPBACK = LinkShape(rtt_ms=0)


def copies(scenario: str, shape: LinkShape, *names: str, blackout: bool = False) -> "Scenario":
    """Make a scenario in which copiers take turns with the same 20,000 files."""

    def measured(bench: Bench) -> Iterator[Result]:
        whole = provide(Shape(), bench.shelf)
        with link_up(shape, bench.scratch / f"link-{scenario}") as link:
            for _ in range(bench.rounds):
                for name in names:
                    job = Job(link, whole, bench.destination(scenario), COPY_LIMIT_S)
                    if name == "rclone":
                        yield rclone_scaled(bench, scenario, job)
                        continue
                    copier = (name, COPIERS[name])
                    yield timed_copy(bench, scenario, copier, job, blackout=blackout)

    return measured


def rclone_scaled(bench: Bench, scenario: str, job: Job) -> Result:
    """Time rclone with a part of the files, and scale its time: it needs most of a second each."""
    root = bench.scratch / "rclone-subset"
    shutil.rmtree(root, ignore_errors=True)
    part = subset(job.source, RCLONE_FILES, root)
    found = timed_copy(
        bench, scenario, ("rclone (scaled)", competitors.rclone), job._replace(source=part)
    )
    return found._replace(seconds=found.seconds * len(job.source.sha256) / RCLONE_FILES)


def nothing_to_do(bench: Bench) -> Iterator[Result]:
    """Copy again what is there already, over the delayed link."""
    whole = provide(Shape(), bench.shelf)
    with link_up(WAN, bench.scratch / "link-nothing") as link:
        job = Job(link, whole, bench.destination("nothing"), COPY_LIMIT_S)
        copy_here(whole, job.destination)
        yield timed_copy(bench, "nothing", ("cachemig, first time", ours.sync), job)
        for _ in range(bench.rounds):
            for name in (OURS, "rsync -a"):
                yield timed_copy(bench, "nothing", (name, COPIERS[name]), job)


def one_percent(bench: Bench) -> Iterator[Result]:
    """Copy the 1 % that is new in a cache of 200,000 files, over the delayed link."""
    copier_of = {
        OURS: ours.sync,
        "cachemig, full scan and check": ours.sync_without_state,
        "rsync -a": competitors.rsync,
    }
    with link_up(WAN, bench.scratch / "link-one-percent") as link:
        source = copy_here(provide(WIDE, bench.shelf), bench.scratch / "growing")
        job = Job(link, source, bench.destination("one-percent"), COPY_LIMIT_S)
        copy_here(source, job.destination)
        ours.sync(job)
        for number, name in enumerate(list(copier_of) * bench.rounds):
            job = job._replace(source=grown(job.source, seed=1_000 + number))
            yield timed_copy(bench, "one-percent", (name, copier_of[name]), job)


def first_object(bench: Bench) -> Iterator[Result]:
    """Wait for the first of the hottest objects, with the inventory saved; 200,000 files."""
    whole = provide(WIDE, bench.shelf)
    archives = [path for path in whole.sha256 if path.endswith(".tar.zst")]
    newest_first = sorted(archives, key=lambda path: -(whole.root / path).stat().st_mtime)
    with link_up(WAN, bench.scratch / "link-first-object") as link:
        for _ in range(bench.rounds):
            job = Job(link, whole, bench.destination("first-object"), COPY_LIMIT_S)
            ours.cachemig(job, "scan", "old")
            calm(bench, whole, keep=job.destination)
            hottest = [job.destination / path for path in newest_first[:HOTTEST]]
            seconds = ours.seconds_until_any(hottest, job, "sync", "old", "new", "--saved")
            yield Result("first-object", OURS, seconds)


def startup(bench: Bench) -> Iterator[Result]:
    """Time `cachemig --help` beside a Python that does nothing."""
    commands = {OURS: [str(ours.PROGRAM), "--help"], "python -c ''": [sys.executable, "-c", ""]}
    for _ in range(bench.rounds):
        for name, argv in commands.items():
            started, cpu_before_s = time.monotonic(), children_cpu_s()
            for _ in range(HELP_RUNS):
                subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, timeout=60)
            seconds, cpu_s = time.monotonic() - started, children_cpu_s() - cpu_before_s
            yield Result("startup", name, seconds / HELP_RUNS, cpu_s / HELP_RUNS)


def memory(bench: Bench) -> Iterator[Result]:
    """See what the controlling process holds at a million objects, whose listings are made up."""
    del bench
    argv = [sys.executable, "-m", "benchmarks.catalog_memory"]
    cpu_before_s = children_cpu_s()
    started = time.monotonic()
    memory_bytes = ours.peak_memory_bytes(argv, MEMORY_LIMIT_S)
    seconds = time.monotonic() - started
    problem = "" if memory_bytes < PROMISED_MEMORY_BYTES else "more than was promised"
    cpu_s = children_cpu_s() - cpu_before_s
    yield Result("memory", OURS, seconds, cpu_s, memory_bytes=memory_bytes, problem=problem)


def copy_here(source: Dataset, root: Path) -> Dataset:
    """Copy a data set on this machine, with its times."""
    root.parent.mkdir(parents=True, exist_ok=True)
    argv = ["cp", "-a", f"{source.root}/.", str(root)]
    subprocess.run(argv, check=True, timeout=COPY_LIMIT_S)
    return source._replace(root=root)


def grown(source: Dataset, seed: int) -> Dataset:
    """Add 2,000 new files to a data set, in the directories where they belong."""
    write(replace(ONE_PERCENT, seed=seed), source.root)
    sha256 = digests(source.root)
    return Dataset(source.root, sha256, source.total_bytes + ONE_PERCENT.total_bytes)


Scenario = Callable[[Bench], Iterator[Result]]
SCENARIOS: Mapping[str, Scenario] = {
    "wan": copies("wan", WAN, OURS, "rsync -a", "tar | ssh tar", "8 tars", "8 rsyncs", "rclone"),
    "loss": copies("loss", LOSSY, OURS, "8 rsyncs"),
    "blackout": copies("blackout", WAN, OURS, "rsync -a", "8 rsyncs", blackout=True),
    "loopback": copies(
        "loopback", LOOPBACK, OURS, "rsync -a", "rsync, sync, rsync -c", "tar | ssh tar"
    ),
    "nothing": nothing_to_do,
    "one-percent": one_percent,
    "first-object": first_object,
    "memory": memory,
    "startup": startup,
}
