"""The tour that a newcomer takes runs to its end, on any machine, within a minute."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

LIMIT_S = 60


def run_demo(*arguments, before=()):
    """`cachemig demo` as a process of its own."""
    return subprocess.run(
        [*before, sys.executable, "-m", "cachemig", "demo", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S * 3,
        check=False,
    )


@pytest.mark.parametrize("options", [[], ["--ssh"]], ids=["folders", "ssh"])
def test_the_demo_moves_its_cache_and_proves_it(options, tmp_path):
    """Every command ends as the tour says, and each is printed as it can be typed."""
    start_s = time.monotonic()

    ran = run_demo(tmp_path / "demo", *options)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count("\n$ cachemig ") >= 8
    assert time.monotonic() - start_s < LIMIT_S


def test_the_demo_needs_no_network_and_no_root():
    """An ordinary user, where there is no network at all."""
    without_network = ["unshare", *([] if os.geteuid() == 0 else ["--user"]), "--net"]
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    before = [*without_network, *(user if os.geteuid() == 0 else [])]
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is closed to others
        Path(folder).chmod(0o777)

        ran = run_demo(f"{folder}/demo", before=before)

    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_a_foreign_folder_is_refused(tmp_path):
    """Exit code 2, and nothing in it is touched."""
    (tmp_path / "thesis.txt").write_text("do not lose")

    ran = run_demo(tmp_path)

    assert ran.returncode == 2
    assert str(tmp_path) in ran.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]
