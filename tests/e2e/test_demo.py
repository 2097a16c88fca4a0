"""The tour that a newcomer takes runs to its end, on any machine, within a minute."""

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

WORK_LIMIT_S = 60


def run_demo(*arguments, before=()):
    """`cachemig demo` as a process of its own."""
    return subprocess.run(
        [*before, sys.executable, "-m", "cachemig", "demo", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WORK_LIMIT_S * 4,  # a machine that is busy with other tests is slower
        check=False,
    )


def processor_time_s():
    """Seconds that ended child processes have worked, however long they had to wait."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_over_ssh_every_command_ends_as_the_tour_says(tmp_path):
    """Each is printed as it can be typed, and all of them take less than a minute's work."""
    before_s = processor_time_s()

    ran = run_demo(tmp_path / "demo", "--ssh")

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count("\n$ cachemig ") >= 10
    assert processor_time_s() - before_s < WORK_LIMIT_S


def test_on_folders_it_needs_no_network_and_no_root():
    """An ordinary user, where there is no network at all, sees all of it."""
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
