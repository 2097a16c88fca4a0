"""Disks that are too small, read-only or broken. Mounting takes root, as in CI."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.nobody import needs_root

SOURCE = Path(__file__).parent / "faultfs.c"
LIMIT_S = 30

Mount = Callable[..., None]
NewFaultyDisk = Callable[[Path], "FaultyDisk"]


@dataclass(frozen=True, slots=True)
class FaultyDisk:
    """A mounted file system that fails as it is told; see faultfs.c.

    Attributes:
        below: what really holds the files.
        rules_file: what goes wrong.
    """

    below: Path
    rules_file: Path

    def fail(self, *rules: str) -> None:
        """Let go wrong what the rules say from now on; without any, nothing."""
        draft = self.rules_file.with_suffix(".new")
        draft.write_text("".join(f"{rule}\n" for rule in rules))
        draft.rename(self.rules_file)

    def struck(self, operation: str) -> int:
        """How often an operation was made to go wrong so far."""
        lines = Path(f"{self.rules_file}.struck").read_text(errors="replace").splitlines()
        return sum(line.startswith(f"{operation} ") for line in lines)


@pytest.fixture
def tmpfs() -> Iterator[Mount]:
    """Mounts a small memory disk at a folder: `tmpfs(folder, "size=8m")`; gone at the end."""
    needs_root("a disk is mounted")
    with ExitStack() as mounted:

        def mount(folder: Path, options: str) -> None:
            argv = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
            subprocess.run(argv, check=True, timeout=LIMIT_S)
            mounted.callback(subprocess.run, ["umount", "--lazy", str(folder)], timeout=LIMIT_S)

        yield mount


def remount(folder: Path, options: str) -> None:
    """Give a mounted disk other options."""
    argv = ["mount", "-o", f"remount,{options}", str(folder)]
    subprocess.run(argv, check=True, timeout=LIMIT_S)


@pytest.fixture(scope="session")
def faultfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of faultfs.c."""
    program = tmp_path_factory.mktemp("faultfs") / "faultfs"
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "fuse3"], check=True, capture_output=True, text=True
    ).stdout.split()
    argv = ["gcc", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-format-truncation"]
    argv += ["-o", str(program), str(SOURCE), *flags]
    subprocess.run(argv, check=True, timeout=LIMIT_S * 2)
    return program


@pytest.fixture
def faulty_disk(faultfs: Path, tmp_path: Path) -> Iterator[NewFaultyDisk]:
    """Mounts a disk that can be told to fail over a folder: `faulty_disk(folder)`."""
    if not Path("/dev/fuse").exists():
        pytest.fail("this machine has no /dev/fuse: try `modprobe fuse`")
    with ExitStack() as mounted:

        def mount(folder: Path) -> FaultyDisk:
            below = Path(shutil.move(folder, tmp_path / f"below-{folder.name}"))
            folder.mkdir()
            disk = FaultyDisk(below, tmp_path / f"rules-{folder.name}")
            argv = [str(faultfs), str(below), str(disk.rules_file), str(folder), "-f"]
            server = subprocess.Popen(argv)
            mounted.callback(server.wait, LIMIT_S)
            mounted.callback(server.terminate)  # a mount may live on in a namespace of others
            mounted.callback(subprocess.run, ["fusermount3", "-u", "-z", str(folder)])
            _wait_for_mount(folder, server)
            return disk

        yield mount


def _wait_for_mount(folder: Path, server: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + LIMIT_S
    while not folder.is_mount():
        assert server.poll() is None, "faultfs ended"
        assert time.monotonic() < end, "faultfs did not mount"
        time.sleep(0.01)
