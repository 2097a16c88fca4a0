"""The usual ways to copy a cache over ssh, each as good as a careful operator would do it."""

import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.dataset import Dataset
from benchmarks.link import Link

STREAMS = 8
RCLONE_TRANSFERS = 16


class Job(NamedTuple):
    """One copy to be done, from the near end to the far one.

    Attributes:
        link: what lies between.
        source: the files at the near end.
        destination: the folder at the far end, which may be empty or not be there.
        limit_s: a copy that takes longer is ended and counts as failed.
    """

    link: Link
    source: Dataset
    destination: Path
    limit_s: float


Copier = Callable[[Job], None]


def rsync(job: Job) -> None:
    """Copy with one `rsync -a`."""
    job.destination.mkdir(parents=True, exist_ok=True)
    finish(job, [rsync_argv(job, "-a", [f"{job.source.root}/"])])


def rsync_proved(job: Job) -> None:
    """Copy with `rsync -a`, and go on until as much is sure as when cachemig ends.

    The files are on disk at the far end, and their bytes were read again and compared.
    """
    rsync(job)
    finish(job, [job.link.ssh.argv(shlex.join(["sync", "-f", str(job.destination)]))])
    finish(job, [rsync_argv(job, "-anc", [f"{job.source.root}/"])])


def rsyncs(job: Job) -> None:
    """Copy with eight `rsync -a` at once, split by directory."""
    job.destination.mkdir(parents=True, exist_ok=True)
    shares = split_by_directory(job.source.root)
    roots = [[f"{job.source.root}/./{name}" for name in share] for share in shares]
    finish(job, [rsync_argv(job, "-aR", share) for share in roots])


def tar(job: Job) -> None:
    """Copy with one `tar | ssh tar`."""
    job.destination.mkdir(parents=True, exist_ok=True)
    finish(job, [tar_argv(job, ["."])])


def tars(job: Job) -> None:
    """Copy with eight `tar | ssh tar` at once, split by directory."""
    job.destination.mkdir(parents=True, exist_ok=True)
    finish(job, [tar_argv(job, share) for share in split_by_directory(job.source.root)])


def rclone(job: Job) -> None:
    """Copy with `rclone copy` over SFTP, sixteen transfers at once."""
    program = shutil.which("rclone", path=str(Path(sys.executable).parent)) or "rclone"
    ssh = job.link.ssh
    options = {
        "--config": "/dev/null",
        "--transfers": str(RCLONE_TRANSFERS),
        "--sftp-host": ssh.address,
        "--sftp-port": str(ssh.port),
        "--sftp-user": "root",
        "--sftp-key-file": str(ssh.identity_file),
        "--sftp-known-hosts-file": str(ssh.known_hosts_file),
    }
    words = [word for option in options.items() for word in option]
    argv = [program, "copy", *words, str(job.source.root), f":sftp:{job.destination}"]
    finish(job, [argv])


def rsync_argv(job: Job, flags: str, sources: Sequence[str]) -> list[str]:
    """One rsync over the plainest ssh; `--mkpath` is not needed, the folder is there."""
    target = f"root@{job.link.ssh.address}:{job.destination}/"
    return ["rsync", flags, "-e", shlex.join(job.link.ssh.client()), *sources, target]


def tar_argv(job: Job, names: Sequence[str]) -> list[str]:
    """One tar at each end of an ssh; the shell fails when either fails."""
    pack = shlex.join(["tar", "-C", str(job.source.root), "-cf", "-", *names])
    unpack = shlex.join(["tar", "-C", str(job.destination), "-xpf", "-"])
    return ["bash", "-o", "pipefail", "-c", f"{pack} | {shlex.join(job.link.ssh.argv(unpack))}"]


def split_by_directory(root: Path) -> list[list[str]]:
    """Deal the slot directories out to the streams, natives among them, like cards."""
    slots = [*root.glob("[0-9a-f][0-9a-f]"), *root.glob("universal/[0-9a-f][0-9a-f]")]
    names = sorted(str(slot.relative_to(root)) for slot in slots)
    return [names[number::STREAMS] for number in range(STREAMS)]


def finish(job: Job, commands: Sequence[Sequence[str]]) -> None:
    """Run commands at the near end, all at once, and wait for the last; any failure is ours."""
    processes = [
        subprocess.Popen(job.link.near_argv(argv), stdin=subprocess.DEVNULL) for argv in commands
    ]
    try:
        statuses = [process.wait(timeout=job.limit_s) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert not any(statuses), f"exit codes {statuses}"
