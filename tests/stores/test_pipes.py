"""Both SSH clients trust the same host keys, and their failures mean the same to the operator."""

import base64
import hmac
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cachemig.agent.protocol import MARKER
from cachemig.config import SshSettings
from cachemig.core.urls import ServerUrl
from cachemig.demo.sshd import ADDRESS, Sshd
from cachemig.errors import (
    AccessError,
    CachemigError,
    ConnectionLostError,
    ExitCode,
    IdentityError,
    UsageError,
)
from cachemig.stores.diagnosis import diagnose
from cachemig.stores.known_hosts import KnownHosts
from cachemig.stores.pipes import agent_argv, chosen_client
from tests.servers.sshd import NewSshd

_ENDED = re.compile(rb"Connection from \S+ port (\d+) .*?(port \1 \[preauth\])", re.DOTALL)
CLIENTS = ["openssh", "paramiko"]
both_clients = pytest.mark.parametrize("client", CLIENTS)


def settings(client: Any, sshd: Sshd, known_hosts: Path | None = None) -> SshSettings:
    """Settings that let us in, but for what a test changes."""
    return SshSettings(
        client=client,
        identity_file=sshd.identity_file,
        known_hosts_file=known_hosts or sshd.known_hosts_file,
    )


def reach(argv: list[str], server: str = "nfs-9") -> CachemigError | None:
    """Start the child; None when the agent's bootstrap answers, else the diagnosis."""
    ran = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60
    )
    if MARKER in ran.stdout:
        assert ran.returncode == 0
        return None
    return diagnose(ran.returncode, ran.stderr.decode(), server)


def url_of(sshd: Sshd) -> ServerUrl:
    """Where it listens."""
    return ServerUrl("ssh", "/srv/sstate", ADDRESS, sshd.user, sshd.port)


def try_known_hosts(client: str, sshd: Sshd, known_hosts: Path, text: str) -> CachemigError | None:
    """Reach a server with a known_hosts file of our own."""
    known_hosts.write_text(text)
    return reach(agent_argv(url_of(sshd), settings(client, sshd, known_hosts)))


def host_key(sshd: Sshd) -> str:
    """The server's key, as files print it."""
    return " ".join((sshd.folder / "host_key.pub").read_text().split()[:2])


def fingerprint(sshd: Sshd) -> str:
    """Its SHA-256 fingerprint."""
    known = KnownHosts.read([sshd.known_hosts_file]).lookup(ADDRESS, sshd.port)
    return known.trusted[0].key.fingerprint


def another_key(folder: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    """Make a key pair; returns the private one."""
    path = folder / f"another {kind}"
    make = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", str(path)]
    subprocess.run(make, check=True, timeout=60)
    return path


def public(path: Path) -> str:
    """The public part of a key pair."""
    return " ".join(path.with_name(path.name + ".pub").read_text().split()[:2])


def hashed_name(name: str) -> str:
    """A name as HashKnownHosts writes it."""
    salt = b"s" * 20
    parts = (salt, hmac.digest(salt, name.encode(), "sha1"))
    return "|1|" + "|".join(base64.b64encode(part).decode() for part in parts)


@contextmanager
def no_login_tried(sshd: Sshd) -> Iterator[None]:
    """Hold that the server's log tells of a connection, and of no key shown to it."""
    before = len(sshd.log_file.read_bytes())
    yield
    deadline = time.monotonic() + 20
    while not (ended := _ENDED.search(log := sshd.log_file.read_bytes()[before:])):
        assert time.monotonic() < deadline, log
        time.sleep(0.02)
    assert b"publickey" not in ended[0]


@both_clients
def test_a_pinned_key_is_let_in(client: str, sshd: Sshd) -> None:
    """The plain case."""
    assert reach(agent_argv(url_of(sshd), settings(client, sshd))) is None


@both_clients
@pytest.mark.parametrize("line", ["[127.0.0.*]:*", "!nfs-1,*", "a,b,[127.0.0.1]:{port}", "hashed"])
def test_every_form_of_a_name_counts(client: str, line: str, sshd: Sshd, tmp_path: Path) -> None:
    """Wildcards, negations, several names in a line, hashed names."""
    name = f"[{ADDRESS}]:{sshd.port}"
    hosts = hashed_name(name) if line == "hashed" else line.format(port=sshd.port)
    text = f"# ours\n\n@revoked * {public(another_key(tmp_path))}\n{hosts} {host_key(sshd)}\n"

    assert try_known_hosts(client, sshd, tmp_path / "known 100% hosts", text) is None


@both_clients
def test_an_unknown_key_is_refused(client: str, sshd: Sshd, tmp_path: Path) -> None:
    """Exit code 8, the command that shows the key, and no key of ours shown to the server."""
    with no_login_tried(sshd):
        error = try_known_hosts(client, sshd, tmp_path / "known_hosts", "")

    assert isinstance(error, IdentityError)
    assert error.exit_code == ExitCode.IDENTITY
    assert not error.retryable
    assert error.server == "nfs-9"
    assert f"ssh-keyscan -p {sshd.port} {ADDRESS}" in error.next_step
    assert not (tmp_path / "known_hosts").read_text()


@both_clients
@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_a_changed_key_is_refused(client: str, kind: str, sshd: Sshd, tmp_path: Path) -> None:
    """The line that expects another key and the fingerprint shown are told; any kind of key."""
    file = tmp_path / "known_hosts"
    name = f"[{ADDRESS}]:{sshd.port}"
    with no_login_tried(sshd):
        text = f"# ours\n{name} {public(another_key(tmp_path, kind))}\n"
        error = try_known_hosts(client, sshd, file, text)

    assert isinstance(error, IdentityError)
    assert "has changed" in error.what
    assert error.path == f"{file}:2"
    assert fingerprint(sshd) in error.cause
    assert f"ssh-keygen -R '{name}' -f {file}" in error.next_step


@both_clients
def test_a_revoked_key_is_refused(client: str, sshd: Sshd, tmp_path: Path) -> None:
    """A revocation outdoes a line that trusts the same key."""
    trusted = sshd.known_hosts_file.read_text()
    with no_login_tried(sshd):
        text = f"{trusted}@revoked * {host_key(sshd)}\n"
        error = try_known_hosts(client, sshd, tmp_path / "known_hosts", text)

    assert isinstance(error, IdentityError)
    assert "revoked" in error.what


def test_a_certificate_authority_is_told_by_line(sshd: Sshd, tmp_path: Path) -> None:
    """Paramiko can not use it; the operator hears so, and which client can."""
    file = tmp_path / "known_hosts"
    text = f"\n@cert-authority * {public(another_key(tmp_path))}\nbroken line\n"
    error = try_known_hosts("paramiko", sshd, file, text)

    assert isinstance(error, IdentityError)
    assert f"{file}:2 names a certificate authority" in error.cause
    assert f"{file}:3 can not be used" in error.cause


def test_a_certificate_authority_does_no_harm_to_a_pinned_key(sshd: Sshd, tmp_path: Path) -> None:
    """A file that paramiko's own reader would fail on is read to its end."""
    text = f"@cert-authority * {public(another_key(tmp_path))}\n{sshd.known_hosts_file.read_text()}"

    assert try_known_hosts("paramiko", sshd, tmp_path / "known_hosts", text) is None


@both_clients
def test_a_wrong_login_key_is_refused(client: str, sshd: Sshd, tmp_path: Path) -> None:
    """Exit code 7, and never tried again."""
    wrong = replace(settings(client, sshd), identity_file=another_key(tmp_path))
    error = reach(agent_argv(url_of(sshd), wrong))

    assert isinstance(error, AccessError)
    assert error.exit_code == ExitCode.ACCESS
    assert not error.retryable
    assert "login" in error.what


def test_a_key_with_a_passphrase_is_told(sshd: Sshd, tmp_path: Path) -> None:
    """Nobody is asked for it; the ssh-agent may hold it."""
    locked = another_key(tmp_path, passphrase="secret")  # noqa: S106
    error = reach(
        agent_argv(url_of(sshd), replace(settings("paramiko", sshd), identity_file=locked))
    )

    assert isinstance(error, AccessError)
    assert f"{locked} has a passphrase" in error.cause


@both_clients
def test_a_closed_port_is_worth_another_try(client: str, sshd: Sshd) -> None:
    """The host may be coming up."""
    with socket.socket() as free:
        free.bind((ADDRESS, 0))
        port = free.getsockname()[1]
    error = reach(agent_argv(replace(url_of(sshd), port=port), settings(client, sshd)))

    assert isinstance(error, ConnectionLostError)
    assert error.retryable
    assert "refused" in error.cause


@both_clients
def test_a_hang_up_at_the_greeting_is_worth_another_try(client: str, sshd: Sshd) -> None:
    """A busy sshd drops connections beyond its MaxStartups like this."""
    with socket.create_server((ADDRESS, 0)) as server:

        def hang_up() -> None:
            server.accept()[0].close()

        threading.Thread(target=hang_up, daemon=True).start()
        port = server.getsockname()[1]
        error = reach(agent_argv(replace(url_of(sshd), port=port), settings(client, sshd)))

    assert isinstance(error, ConnectionLostError)


@both_clients
def test_a_server_without_python_is_told(client: str, new_sshd: NewSshd) -> None:
    """Nothing is installed for the operator; a mount is the other way."""
    sshd = new_sshd()
    force_command(sshd, 'PATH=/nonexistent; eval "$SSH_ORIGINAL_COMMAND"')
    error = reach(agent_argv(url_of(sshd), settings(client, sshd)))

    assert isinstance(error, AccessError)
    assert "python3" in error.what
    assert "mount" in error.next_step


@both_clients
def test_a_server_whose_python_is_too_old_is_told(client: str, new_sshd: NewSshd) -> None:
    """As one that has none; the words are those of the agent."""
    sshd = new_sshd()
    force_command(sshd, "echo cachemig: python3 is too old here: the agent needs 9 >&2; exit 1")
    error = reach(agent_argv(url_of(sshd), settings(client, sshd)))

    assert isinstance(error, AccessError)
    assert "version 3.9" in error.what
    assert "too old" in error.cause


@both_clients
def test_an_account_that_may_not_run_commands_is_told(client: str, new_sshd: NewSshd) -> None:
    """What the account's shell said is the cause."""
    sshd = new_sshd()
    force_command(sshd, "echo This account is not available >&2; exit 1")
    error = reach(agent_argv(url_of(sshd), settings(client, sshd)))

    assert isinstance(error, AccessError)
    assert not error.retryable
    assert "This account is not available" in error.cause


@both_clients
def test_a_session_that_is_killed_is_a_lost_connection(client: str, new_sshd: NewSshd) -> None:
    """A signal on the far side is never taken for a result."""
    sshd = new_sshd()
    force_command(sshd, "kill -9 $$")

    error = reach(agent_argv(url_of(sshd), settings(client, sshd)))

    assert isinstance(error, ConnectionLostError)


@both_clients
def test_weak_algorithms_are_refused(client: str, new_sshd: NewSshd) -> None:
    """A server that offers nothing else is told so; its offer is named."""
    sshd = new_sshd()
    config = sshd.folder / "sshd_config"
    config.write_text(config.read_text() + "Ciphers aes128-cbc\n")
    restart(sshd)
    error = reach(agent_argv(url_of(sshd), settings(client, sshd)))

    assert isinstance(error, AccessError)
    assert not error.retryable
    assert "algorithm" in error.what
    assert "cipher" in error.cause.lower()


def restart(sshd: Sshd) -> None:
    """Let the server read its settings anew; it comes back with them."""
    before = sshd.log_file.read_text().count("Server listening")
    sshd.listener.send_signal(1)
    deadline = time.monotonic() + 20
    while sshd.log_file.read_text().count("Server listening") == before:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def force_command(sshd: Sshd, command: str) -> None:
    """Let the server run a command of its own for every login."""
    keys = sshd.folder / "authorized_keys"
    quoted = command.replace('"', '\\"')
    keys.write_text(f'command="{quoted}" {keys.read_text()}')


def test_the_operators_ssh_config_can_not_weaken_us(sshd: Sshd, tmp_path: Path) -> None:
    """It is honoured, but host keys stay strict and nothing is written to known_hosts."""
    config, known_hosts = tmp_path / "config", tmp_path / "known_hosts"
    known_hosts.touch()
    config.write_text(
        f"Host nfs-alias\n HostName {ADDRESS}\n Port {sshd.port}\n"
        "Host *\n StrictHostKeyChecking no\n UpdateHostKeys yes\n ForwardAgent yes\n"
        f" ControlMaster yes\n ControlPath {tmp_path}/shared\n"
    )
    url = ServerUrl("ssh", "/srv/sstate", "nfs-alias", sshd.user)
    unknown = agent_argv(url, settings("openssh", sshd, known_hosts))
    known = agent_argv(url, settings("openssh", sshd))

    assert isinstance(reach([unknown[0], "-F", str(config), *unknown[1:]]), IdentityError)
    assert reach([known[0], "-F", str(config), *known[1:]]) is None
    assert sorted(tmp_path.iterdir()) == [config, known_hosts]
    assert not known_hosts.read_text()


def test_a_local_root_needs_no_ssh() -> None:
    """Its agent is the same program in a child of this process."""
    assert reach(agent_argv(ServerUrl("path", "/srv/sstate"), SshSettings())) is None


def test_a_bucket_has_no_agent() -> None:
    """It is refused, not dialled."""
    with pytest.raises(UsageError, match="bucket"):
        agent_argv(ServerUrl("s3", "/prefix", "bucket"), SshSettings())


def test_auto_takes_ssh_where_there_is_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Else paramiko."""
    assert chosen_client(SshSettings(client="auto")) == "openssh"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert chosen_client(SshSettings(client="auto")) == "paramiko"


@pytest.mark.parametrize(
    ("text", "kind", "retryable"),
    [
        ("ssh: Could not resolve hostname nfs-1: Name or service not known", AccessError, False),
        (
            "ssh: Could not resolve hostname nfs-1: Temporary failure in name resolution",
            ConnectionLostError,
            True,
        ),
        ("Connection timed out during banner exchange", ConnectionLostError, True),
        ("Timeout, server nfs-1 not responding.", ConnectionLostError, True),
        ("/home/ops/.ssh/config: line 3: Bad configuration option: foo", AccessError, False),
        ("cachemig-pipe: not json", ConnectionLostError, True),
        ("", ConnectionLostError, True),
    ],
)
def test_what_ssh_says_tells_what_to_do(
    text: str, kind: type[CachemigError], retryable: bool
) -> None:
    """Only what may pass by itself is tried again."""
    error = diagnose(255, f"Welcome to nfs-1!\n{text}\r\n", "nfs-1")

    assert type(error) is kind
    assert error.retryable == retryable
    assert error.next_step


def test_a_refused_connection_may_be_the_wrong_port() -> None:
    """The port in the url is the first thing to look at."""
    told = diagnose(255, "ssh: connect to host h port 2222: Connection refused", "nfs-1")

    assert "the host and port in the url" in told.next_step
