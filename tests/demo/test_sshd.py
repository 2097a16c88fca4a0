"""The throw-away sshd is a real one, strict, and leaves nothing behind."""

import subprocess
from pathlib import Path

import pytest

from cachemig.demo.sshd import ADDRESS


def ssh_argv(server, known_hosts=None):
    """The system's ssh to this server, with nothing but this server's own settings."""
    options = {
        "BatchMode": "yes",
        "IdentitiesOnly": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": known_hosts or server.known_hosts_file,
        "GlobalKnownHostsFile": "/dev/null",
    }
    argv = ["ssh", "-F", "none", "-p", str(server.port), "-i", str(server.identity_file)]
    argv += [f"-o{name}={value}" for name, value in options.items()]
    return [*argv, f"{server.user}@{ADDRESS}"]


def ssh(server, command, **settings):
    """Run a command over ssh to its end."""
    return subprocess.run(
        [*ssh_argv(server, **settings), command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_its_own_key_logs_in_and_finds_the_python_it_was_given(sshd, oldest_python):
    """What a session calls python3 is the Python that the test asked for."""
    ran = ssh(sshd, "python3 -c 'import os, sys; print(os.path.realpath(sys.executable))'")

    assert ran.stdout.strip() == str(Path(oldest_python).resolve()), ran.stderr


def test_a_host_key_that_is_not_pinned_is_refused(sshd, tmp_path):
    """The known_hosts file is what makes the login work, not leniency."""
    empty = tmp_path / "known_hosts"
    empty.touch()

    ran = ssh(sshd, "true", known_hosts=empty)

    assert ran.returncode == 255
    assert "Host key verification failed" in ran.stderr


def test_stop_ends_the_listener_and_its_sessions(new_sshd):
    """A session that would run for a minute is gone with its server."""
    server = new_sshd()
    argv = [*ssh_argv(server), "echo here; exec sleep 60"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as client:
        assert client.stdout
        assert client.stdout.readline() == b"here\n"
        sessions = server.session_pids()

        server.stop()

        assert sessions
        assert not [pid for pid in sessions if Path(f"/proc/{pid}/exe").exists()]
        assert client.wait(timeout=30) != 0


@pytest.mark.parametrize("setting", ["maxstartups 10:30:100", "maxsessions 10"])
def test_its_limits_are_those_of_a_server_as_installed(sshd, setting):
    """Nothing is tested against a server that is kinder than the real ones."""
    ran = subprocess.run(
        ["/usr/sbin/sshd", "-T", "-f", sshd.folder / "sshd_config"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    assert setting in ran.stdout.splitlines()
