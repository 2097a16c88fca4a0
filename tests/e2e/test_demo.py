"""The tour that a newcomer takes runs to its end, on any machine, within a minute."""

import os
import resource
import subprocess
import sys

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


def test_on_folders_it_needs_no_network_and_no_privilege(tmp_path):
    """Where there is no network at all, somebody who may only what his files allow sees all."""
    user = ["--user"] if os.geteuid() else []
    plain = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]

    ran = run_demo(
        tmp_path / "demo", before=["unshare", *user, "--net", *(plain if not user else [])]
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_a_foreign_folder_is_refused(tmp_path):
    """Exit code 2, and nothing in it is touched."""
    (tmp_path / "thesis.txt").write_text("do not lose")

    ran = run_demo(tmp_path)

    assert ran.returncode == 2
    assert str(tmp_path) in ran.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]
