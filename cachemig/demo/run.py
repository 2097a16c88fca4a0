"""The tour: real commands on the two demo sites, each printed so that it can be repeated."""

import fcntl
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from cachemig.core.disk import is_full
from cachemig.demo import site, sshd
from cachemig.errors import ExitCode, IncompleteError, LockedError, NoSpaceError, UsageError

STEP_LIMIT_S = 300.0


class Step(NamedTuple):
    """One command of the tour.

    Attributes:
        why: told before it runs.
        command: as typed, without the program's name.
        expected: the exit code that tells the tour to go on.
        remark: told after it has run.
    """

    why: str
    command: str
    expected: ExitCode = ExitCode.OK
    remark: str = ""


STEPS = (
    Step("What lies on the three servers of the old site?", "scan old"),
    Step("And on the two of the new one? Nothing yet.", "scan new"),
    Step("Where does the old site keep each part of its caches?", "shards init old"),
    Step("And where shall the new one? nfs-8 is twice as big as nfs-9.", "shards init new"),
    Step("What the scan found can be looked at again, at any time.", "inventory show old"),
    Step("What would be copied, from where to where?", "sync old new --dry-run"),
    Step(
        "Copy it.",
        "sync old new",
        ExitCode.INTEGRITY,
        "(exit code 6, as it should be: two archives at the old site are damaged. One is empty,\n"
        "one was cut off in the middle. All others were copied, but not those: a build that\n"
        "finds a damaged archive fails, and bitbake never replaces it.)",
    ),
    Step(
        "Put the damaged ones aside at the old site, where no build finds them.",
        "quarantine old --yes",
    ),
    Step(
        "Copy again, as one does until a move: only what is new would be sent, here nothing.",
        "sync old new",
    ),
    Step(
        "Does the new site have all that the old one has, where builds will look for it?",
        "verify presence old new",
    ),
    Step(
        "Are its bytes those that were sent? Each server digests its own files.",
        "verify integrity new",
    ),
)


def tour(folder: Path, say: Callable[[str], None], *, over_ssh: bool, output: int) -> None:
    """Make both sites in `folder`, and run every step on them.

    Args:
        folder: made, or cleared when it is of an earlier demo.
        say: prints one text of the tour.
        over_ssh: reach the new site through a local sshd.
        output: file descriptor that the commands print on.

    Raises:
        UsageError: the folder holds something else, or this machine has no sshd.
        LockedError: another demo works there.
        IncompleteError: a command ended otherwise than expected.
    """
    with _disk_faults_told(folder):
        folder = folder.absolute()
        with _alone_in(folder), _new_site(folder, over_ssh=over_ssh) as server:
            _take_tour(folder, say, server, output)


def _take_tour(
    folder: Path, say: Callable[[str], None], server: sshd.Sshd | None, output: int
) -> None:
    written = site.fill(folder)
    say(f"Two sites were made in {folder}: old holds {written}; new is empty.")
    say(f"Every command below can be repeated by hand, in that folder:\n\n$ cd {folder}")
    for step in STEPS:
        _perform(step, folder, say, output)
    say(_ending(server))


@contextmanager
def _disk_faults_told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = is_full(error.errno)
        raise (NoSpaceError if full else UsageError)(
            f"the demo can not work in {folder}",
            path=error.filename or "",
            cause=error.strerror or str(error),
            next_step="name a folder on a disk with 300 MB free"
            if full
            else "name a folder that exists, or can be made, and that you may write to",
        ) from error


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Make the folder, and keep other demos out of it."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(
                f"another demo is at work in {folder}",
                next_step="wait for its end, or name another folder",
            ) from None
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _new_site(folder: Path, *, over_ssh: bool) -> Iterator[sshd.Sshd | None]:
    """Write cachemig.toml, and keep an sshd running if the new site is behind one."""
    site.clear(folder)
    if not over_ssh:
        site.write_config(folder, str)
        yield None
        return
    server = sshd.start(folder / "sshd")
    try:
        ssh_table = (
            f'[ssh]\nidentity_file = "{server.identity_file}"\n'
            f'known_hosts_file = "{server.known_hosts_file}"\n'
        )
        site.write_config(folder, server.url, ssh_table)
        yield server
    finally:
        server.stop()


def _perform(step: Step, folder: Path, say: Callable[[str], None], output: int) -> None:
    """Run one command as the reader would, and check how it ended."""
    if step.why:
        say(f"\n# {step.why}")
    say(f"$ cachemig {step.command}")
    ran = subprocess.run(
        [sys.executable, "-m", "cachemig", *shlex.split(step.command)],
        cwd=folder,
        env={**os.environ, "PYTHONSAFEPATH": "1"},
        stdin=subprocess.DEVNULL,
        stdout=output,
        timeout=STEP_LIMIT_S,
        check=False,
    )
    if ran.returncode != step.expected:
        raise IncompleteError(
            f"`cachemig {step.command}` ended with {ran.returncode}, not {step.expected:d}",
            next_step=f"run it by hand in {folder}",
        )
    if step.remark:
        say(step.remark)


def _ending(server: sshd.Sshd | None) -> str:
    """What the reader may try now."""
    lines = [
        "",
        "Done: the new site has what the old one had, and has proved its bytes.",
        "",
        "To try next, in that folder:",
        "",
        "  cachemig inventory diff old new     what only one of both has",
        "  cachemig verify presence old new    after you have deleted a file below new/",
        "  cachemig sync old new               brings that file again, and nothing else",
        "  cat cachemig.toml                   how the sites are told to cachemig",
    ]
    if server is not None:
        argv = ["/usr/sbin/sshd", "-f", f"{server.folder}/sshd_config"]
        lines += ["", "The sshd of the new site has been stopped. To start it again:"]
        lines += [f"  {shlex.join(argv)} -E {server.log_file}"]
    return "\n".join(lines)
