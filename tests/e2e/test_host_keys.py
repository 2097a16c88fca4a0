"""No server is spoken to that does not prove who it is, and nobody is let in by chance."""

import re
import subprocess
from pathlib import Path

import pytest

from cachemig.demo.sshd import ADDRESS, Sshd
from tests.e2e.battle import wait_until
from tests.e2e.sites import Ran, Sites, fill
from tests.servers.sshd import NewSshd

both_clients = pytest.mark.parametrize("client", ["openssh", "paramiko"])
FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


def key_of(path: Path) -> str:
    """A public key, as known_hosts has it."""
    return " ".join(path.read_text().split()[:2])


def fingerprint(path: Path) -> str:
    """What ssh-keygen says of a key."""
    said = subprocess.run(
        ["ssh-keygen", "-lf", path], capture_output=True, text=True, check=True, timeout=60
    )
    return said.stdout.split()[1]


def another_key(folder: Path) -> Path:
    """A key pair that no server knows; returns the private one."""
    path = folder / "another_key"
    make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(make, check=True, timeout=60)
    return path


def sync(folder: Path, sshd: Sshd, client: str, **ssh: str) -> Ran:
    """Sync to a server behind an sshd, with settings that a test changes."""
    sites = Sites(folder)
    fill(sites.add("old", "old-1"), range(3))
    sites.add("new", "new-1", sshd=sshd)
    sites.ssh |= {"client": client, **ssh}
    return sites.sync()


@both_clients
@pytest.mark.parametrize("case", ["unknown", "changed", "revoked"])
def test_a_host_key_that_does_not_fit(
    client: str, case: str, new_sshd: NewSshd, tmp_path: Path
) -> None:
    """Exit 8 with place, fingerprint and next command; nothing is sent, nothing written."""
    sshd = new_sshd()
    wrong = key_of(another_key(tmp_path).with_suffix(".pub"))
    right = key_of(sshd.folder / "host_key.pub")
    name = f"[{ADDRESS}]:{sshd.port}"
    known = tmp_path / "known"
    lines = {
        "unknown": "# nobody\n",
        "changed": f"# ours\n{name} {wrong}\n",
        "revoked": f"# ours\n@revoked * {right}\n{name} {right}\n",
    }
    known.write_text(lines[case])

    ran = sync(tmp_path, sshd, client, known_hosts_file=str(known))

    assert ran.code == 8
    error = ran.error
    assert (error["slug"], error["server"]) == ("host-key", "new-1")
    told = f"{error['message']} {error['path']} {error['cause']} {error['next_step']}"
    assert str(known) in told
    if case == "changed" or (client == "paramiko" and case == "revoked"):
        assert f"{known}:2" in told
    if case == "changed" or client == "paramiko":  # ssh does not show what it refuses
        assert fingerprint(sshd.folder / "host_key.pub") in told
    if case != "revoked":
        assert "ssh-keyscan" in error["next_step"]
    assert known.read_text() == lines[case]
    assert list((tmp_path / "new-1").iterdir()) == []
    no_key_was_shown(sshd)


def no_key_was_shown(sshd: Sshd) -> None:
    """Its log tells of a connection that ended before any login was tried."""
    wait_until(lambda: "[preauth]" in sshd.log_file.read_text(), "the end of a connection")
    log = sshd.log_file.read_text()
    assert "publickey" not in log
    assert "Accepted" not in log


@both_clients
def test_a_login_that_is_refused(client: str, new_sshd: NewSshd, tmp_path: Path) -> None:
    """Exit 7, and what to look at; no object counts as done."""
    sshd = new_sshd()
    ran = sync(tmp_path, sshd, client, identity_file=str(another_key(tmp_path)))

    assert ran.code == 7
    assert ran.error["server"] == "new-1"
    assert "identity_file" in ran.error["next_step"]
    assert not ran.error["retryable"]
    assert list((tmp_path / "new-1").iterdir()) == []


@both_clients
def test_a_key_that_is_pinned_lets_it_work(client: str, new_sshd: NewSshd, tmp_path: Path) -> None:
    """The same arrangement, without the fault: so it was the fault that was refused."""
    assert sync(tmp_path, new_sshd(), client).code == 0
