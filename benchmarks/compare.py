"""Measures cachemig side by side with others, in one run: `python -m benchmarks wan loopback`.

Copiers take turns, each gets an empty folder and the same quiet disk, and what arrived is
compared with the source by SHA-256. Prints a table per scenario and writes all figures as JSON.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.measure import Bench, Result
from benchmarks.scenarios import OURS, SCENARIOS

DEFAULT_SCENARIOS = ("startup", "loopback", "nothing", "wan")
DEFAULT_WORK = Path("/var/tmp/cachemig-bench")


def main() -> None:
    """Run the scenarios that were named; exit 1 when a run failed or copied wrongly."""
    asked = arguments()
    work: Path = asked.work
    scratch = work / f"run-{os.getpid()}"
    scratch.mkdir(parents=True)
    results: list[Result] = []
    try:
        bench = Bench(work, scratch, asked.rounds)
        for name in asked.scenario or DEFAULT_SCENARIOS:
            for result in SCENARIOS[name](bench):
                print(line(result), file=sys.stderr, flush=True)
                results.append(result)
            print(table(name, [r for r in results if r.scenario == name]), flush=True)
    finally:
        file: Path = asked.json or work / f"results-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
        file.write_text(json.dumps(record(results), indent=1) + "\n")
        print(f"all figures: {file}")
        if not any(result.problem for result in results):
            shutil.rmtree(scratch)
    if any(result.problem for result in results):
        raise SystemExit(f"some runs failed; their logs: {scratch}")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "scenario",
        nargs="*",
        choices=[*SCENARIOS, []],
        metavar="SCENARIO",
        help=f"{', '.join(SCENARIOS)}; by default {' '.join(DEFAULT_SCENARIOS)}",
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often each one runs (3)")
    parser.add_argument("--work", type=Path, default=DEFAULT_WORK, help=f"({DEFAULT_WORK})")
    parser.add_argument("--json", type=Path, help="where the figures go (into the work folder)")
    return parser.parse_args()


def line(result: Result) -> str:
    """One result as it comes."""
    load = os.getloadavg()[0]
    facts = [f"{result.seconds:.2f} s", f"{result.cpu_s:.1f} s of CPU", f"load {load:.1f}"]
    if result.wire_bytes:
        facts.append(f"{result.wire_bytes / 1e6:.0f} MB received")
    if result.memory_bytes:
        facts.append(f"{result.memory_bytes / 1e6:.0f} MB of memory")
    return f"{result.scenario}: {result.copier}: {', '.join(facts)} {result.problem}"


def table(scenario: str, results: Sequence[Result]) -> str:
    """Write a scenario's medians, and each as a multiple of ours."""
    by_copier: dict[str, list[Result]] = {}
    for result in results:
        by_copier.setdefault(result.copier, []).append(result)
    good = {name: [r for r in found if not r.problem] for name, found in by_copier.items()}
    ours_s = statistics.median([result.seconds for result in good.get(OURS, [])] or [0])
    rows = [f"{scenario:<32} {'median':>9} {'least':>9} {'most':>9} {'CPU':>7}  times ours"]
    rows += [row(name, found, ours_s) for name, found in good.items()]
    return "\n".join([*rows, ""])


def row(copier: str, good: Sequence[Result], ours_s: float) -> str:
    """One line of a table."""
    if not good:
        return f"{copier:<32}    failed"
    seconds = [result.seconds for result in good]
    median_s = statistics.median(seconds)
    cpu_s = statistics.median(result.cpu_s for result in good)
    ratio = f"{median_s / ours_s:.2f}" if ours_s else "-"
    times = " ".join(f"{value:>8.2f}s" for value in (median_s, min(seconds), max(seconds)))
    return f"{copier:<32} {times} {cpu_s:>6.1f}s  {ratio}"


def record(results: Sequence[Result]) -> Mapping[str, object]:
    """Everything that was measured, and on what."""
    return {
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": output("git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"),
        "machine": {
            "cores": os.cpu_count(),
            "kernel": platform.release(),
            "python": platform.python_version(),
            "ssh": output("ssh", "-V"),
            "congestion": Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip(),
            "load": os.getloadavg(),
        },
        "results": [result._asdict() for result in results],
    }


def output(*argv: str) -> str:
    """What a short command prints; empty when it fails."""
    done = subprocess.run(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=20
    )
    return done.stdout.strip() if done.returncode == 0 else ""
