"""Runs cachemig for a measurement, as an operator would: a configuration and one command."""

import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.competitors import Job

PROGRAM = Path(sys.executable).with_name("cachemig")
CONFIG = """\
state_dir = "{state}"

[site.old]
[[site.old.server]]
name = "near"
url = "{source}"

[site.new]
[[site.new.server]]
name = "far"
url = "ssh://root@{address}:{port}{destination}"

[ssh]
client = "openssh"
identity_file = "{identity_file}"
known_hosts_file = "{known_hosts_file}"
"""
POLL_INTERVAL_S = 0.02


def sync(job: Job) -> None:
    """Scan and copy with `cachemig sync`, in the state that earlier runs to this folder left."""
    cachemig(job, "sync", "old", "new")


def sync_without_state(job: Job) -> None:
    """Scan and copy with `cachemig sync --full` as on a machine that never did it before."""
    configuration(job).unlink(missing_ok=True)
    cachemig(job, "sync", "old", "new", "--full", state=f"fresh-{time.monotonic_ns()}")


def cachemig(job: Job, *words: str, state: str = "state") -> None:
    """Run one command of cachemig at the near end to its end; any exit code but 0 is a failure."""
    with (home(job) / "log").open("ab") as log:
        status = subprocess.run(
            argv(job, *words, state=state),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            timeout=job.limit_s,
            check=False,
        ).returncode
    assert status == 0, f"exit code {status}, see {home(job) / 'log'}"


def argv(job: Job, *words: str, state: str = "state") -> list[str]:
    """The command, and its configuration written."""
    job.destination.mkdir(parents=True, exist_ok=True)
    ssh = job.link.ssh
    settings = CONFIG.format(
        state=home(job) / state,
        source=job.source.root,
        destination=job.destination,
        **ssh._asdict(),
    )
    configuration(job).write_text(settings)
    return job.link.near_argv([str(PROGRAM), *words, "--config", str(configuration(job)), "-q"])


def home(job: Job) -> Path:
    """The folder of configuration, state and log: beside the destination."""
    folder = job.destination.with_name(f"{job.destination.name}.cachemig")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def configuration(job: Job) -> Path:
    """The configuration file of a job."""
    return home(job) / "cachemig.toml"


def seconds_until_any(files: Sequence[Path], job: Job, *words: str) -> float:
    """Start a command, wait until one of the files is there, and end the command.

    Raises:
        AssertionError: it ended, or the job's limit passed, before that.
    """
    started = time.monotonic()
    with (home(job) / "log").open("ab") as log:
        process = subprocess.Popen(
            argv(job, *words), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        while not any(file.exists() for file in files):
            assert process.poll() is None, f"ended early, see {home(job) / 'log'}"
            assert time.monotonic() - started < job.limit_s, "the limit passed"
            time.sleep(POLL_INTERVAL_S)
        return time.monotonic() - started
    finally:
        process.terminate()
        process.wait(timeout=30)


def peak_memory_bytes(command: Sequence[str], limit_s: float) -> int:
    """Run a command to its end and tell the most memory that it held at once.

    The kernel is asked while it runs: what `wait4` tells of a child begins with what its parent
    held when it was started.

    Raises:
        AssertionError: it failed, or was not ended by the limit.
    """
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + limit_s
    peak_bytes = 0
    try:
        while process.poll() is None:
            peak_bytes = max(peak_bytes, memory_so_far_bytes(process.pid))
            assert time.monotonic() < deadline, f"it took over {limit_s:.0f} s"
            time.sleep(POLL_INTERVAL_S)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, f"exit code {process.returncode}"
    return peak_bytes


def memory_so_far_bytes(pid: int) -> int:
    """The most memory that a process has held at once; 0 when it has ended."""
    told = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    found = re.search(r"^VmHWM:\s+(\d+) kB$", told, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
