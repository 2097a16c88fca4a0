"""Root passes every permission test, so what is forbidden is tried as somebody else."""

import functools
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import cachemig

NOBODY = 65534
_NOT_NEEDED = shutil.ignore_patterns("mypy*", "boto*", "bb", "*-stubs", "cachemig")
_START_ANOTHER = "import subprocess, sys; subprocess.run([sys.executable, '-c', ''], check=True)"
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")


def needs_root(why: str) -> None:
    """Leave a test out, and say so, when an ordinary user runs the suite: he can not do this."""
    if os.geteuid() != 0:
        pytest.skip(f"left out for an ordinary user: {why}")


def as_nobody(argv: tuple[str, ...]) -> tuple[str, ...]:
    """The same Python program, run by an ordinary user; as it is when we are one."""
    if os.geteuid() != 0:
        return argv
    return (*AS_NOBODY, python_for_nobody(), *argv[1:])


@functools.cache
def python_for_nobody() -> str:
    """A Python that an ordinary user can start; root's own may lie in a closed folder.

    It starts another one, since what setpriv itself starts is still found by root's rights.
    """
    for python in (sys.executable, "/usr/bin/python3"):
        argv = [*AS_NOBODY, python, "-I", "-S", "-c", _START_ANOTHER]
        if subprocess.run(argv, check=False, capture_output=True, timeout=60).returncode == 0:
            return python
    raise AssertionError("no Python here can be started by an ordinary user")


def packages_for_nobody(folder: Path) -> str:
    """The PYTHONPATH by which an ordinary user starts cachemig.

    A copy of our packages in `folder` where root's own lie in a closed one.
    """
    package = Path(cachemig.__file__).parent
    installed = sysconfig.get_path("purelib")
    paths = os.pathsep.join([str(package.parent), installed])
    argv = [*AS_NOBODY, python_for_nobody(), "-c", "import cachemig, duckdb"]
    started = subprocess.run(
        argv, env={"PYTHONPATH": paths}, cwd="/", check=False, capture_output=True, timeout=60
    )
    if started.returncode == 0:
        return paths
    copy = folder / "packages"
    shutil.copytree(installed, copy, copy_function=_link_or_copy, ignore=_NOT_NEEDED)
    shutil.copytree(package, copy / "cachemig", dirs_exist_ok=True)
    return str(copy)


def _link_or_copy(source: str, target: str) -> None:
    try:
        Path(target).hardlink_to(source)
    except OSError:
        shutil.copy2(source, target)


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that everybody can enter, and nobody owns; removed at the end."""
    with tempfile.TemporaryDirectory(prefix="cachemig-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def give_to_nobody(*paths: Path) -> None:
    """Let the ordinary user own what a test made; nothing to do when we are one."""
    if os.geteuid() == 0:
        for path in paths:
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
