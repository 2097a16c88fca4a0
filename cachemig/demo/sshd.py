"""A throw-away sshd on 127.0.0.1, with keys, settings and log of its own.

It is the real server with its default limits on sessions and start-ups; only what ties a
server to a machine is changed. It ends with the process that started it.
"""

import getpass
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cachemig.errors import AccessError, UsageError

ADDRESS = "127.0.0.1"
START_LIMIT_S = 15.0
STOP_LIMIT_S = 10.0
_TRIES = 5
_CONFIG = """\
ListenAddress {address}:{port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
LogLevel VERBOSE
StrictModes no
UsePAM {pam}
PasswordAuthentication no
KbdInteractiveAuthentication no
UseDNS no
PrintMotd no
PrintLastLog no
Subsystem sftp internal-sftp
# SHLVL: a bash at level 1 would read the user's .bashrc, which may put another python3 first.
SetEnv SHLVL=1 PATH={folder}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
"""


@dataclass(frozen=True, slots=True)
class Sshd:
    """A running sshd; `stop` ends it and its sessions.

    Attributes:
        folder: holds its keys, settings and log.
        port: where it listens on `ADDRESS`.
        user: who may log in, with `identity_file`.
        listener: the process that accepts connections.
    """

    folder: Path
    port: int
    user: str
    listener: subprocess.Popen[bytes]

    @property
    def identity_file(self) -> Path:
        """The private key that is let in."""
        return self.folder / "user_key"

    @property
    def known_hosts_file(self) -> Path:
        """A known_hosts file that pins this server's key."""
        return self.folder / "known_hosts"

    @property
    def log_file(self) -> Path:
        """What the server says (LogLevel VERBOSE)."""
        return self.folder / "sshd.log"

    def url(self, path: Path | str) -> str:
        """The ssh:// address of a path, as cachemig.toml wants it."""
        return f"ssh://{self.user}@{ADDRESS}:{self.port}{path}"

    def session_pids(self) -> list[int]:
        """Process ids of all sessions and what runs in them; parents first."""
        return list(_descendants(self.listener.pid))

    def stop(self) -> None:
        """End the listener, then every session, within `STOP_LIMIT_S` each."""
        left = self.session_pids()
        self.listener.send_signal(signal.SIGCONT)
        self.listener.terminate()
        try:
            self.listener.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.listener.kill()
            self.listener.wait(STOP_LIMIT_S)
        for pid in left:
            _kill_and_wait(pid)


def start(folder: Path, *, python: str = sys.executable) -> Sshd:
    """Start an sshd whose files lie in `folder`, and return once it accepts connections.

    Args:
        folder: where keys, settings and log go; made when missing.
        python: what a session finds as ``python3``.

    Raises:
        UsageError: this machine has no sshd.
        AccessError: it did not come up; the end of its log is the cause.
    """
    program = _program("sshd")
    folder.mkdir(parents=True, exist_ok=True)
    _make_keys(folder)
    (folder / "bin").mkdir(exist_ok=True)
    python3 = folder / "bin" / "python3"
    if not python3.is_symlink():
        python3.symlink_to(Path(python).resolve())
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    for _ in range(_TRIES):
        port = _free_port()
        listener = _launch(program, folder, port)
        if _accepts(listener, port):
            return Sshd(folder, port, getpass.getuser(), listener)
    raise AccessError(
        "a local sshd did not start",
        cause=(folder / "sshd.log").read_text(errors="replace")[-500:].strip(),
        next_step=f"look at {folder / 'sshd.log'}",
    )


def _program(name: str) -> str:
    """Path of a program; sshd is often not on an ordinary user's PATH."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if path is None:
        raise UsageError(
            f"this machine has no {name}",
            next_step="sudo apt-get install -y openssh-server openssh-client util-linux",
        )
    return path


def _make_keys(folder: Path) -> None:
    for name in ("host_key", "user_key"):
        if not (folder / name).exists():
            subprocess.run(
                [_program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", folder / name],
                check=True,
                stdin=subprocess.DEVNULL,
                timeout=START_LIMIT_S,
            )
    shutil.copyfile(folder / "user_key.pub", folder / "authorized_keys")


def _launch(program: str, folder: Path, port: int) -> subprocess.Popen[bytes]:
    """Start the listener on a port, and pin its key under that port."""
    pam = "yes" if _needs_pam() else "no"
    config = _CONFIG.format(address=ADDRESS, port=port, folder=folder, pam=pam)
    (folder / "sshd_config").write_text(config)
    kind, key, *_ = (folder / "host_key.pub").read_text().split()
    (folder / "known_hosts").write_text(f"[{ADDRESS}]:{port} {kind} {key}\n")
    argv = [program, "-D", "-f", f"{folder}/sshd_config", "-E", f"{folder}/sshd.log"]
    # From 9.8 on, sshd shuts out an address for a while after a few broken logins.
    lenient = [*argv, "-o", "PerSourcePenalties=no"]
    known = subprocess.run([*lenient, "-t"], check=False, capture_output=True, timeout=30)
    return subprocess.Popen(
        [_program("setpriv"), "--pdeathsig", "TERM", *(argv if known.returncode else lenient)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _needs_pam() -> bool:
    """Without PAM, sshd refuses accounts that it takes for locked.

    An ordinary user's sshd can not read the shadow file, and takes any account for that.
    """
    try:
        lines = Path("/etc/shadow").read_text().splitlines()
    except OSError:
        return True
    return any(line.startswith(f"{getpass.getuser()}:!") for line in lines)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        port: int = probe.getsockname()[1]
        return port


def _accepts(listener: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the server sends its greeting; False when it died, or took too long."""
    end = time.monotonic() + START_LIMIT_S
    while time.monotonic() < end and listener.poll() is None:
        try:
            with socket.create_connection((ADDRESS, port), timeout=START_LIMIT_S) as probe:
                if probe.recv(4) == b"SSH-":
                    return True
        except OSError:
            time.sleep(0.01)
    listener.kill()
    listener.wait(STOP_LIMIT_S)
    return False


def _descendants(pid: int) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name in parentheses may hold anything; the parent is the 2nd word after it.
            parent = int(stat.read_text(errors="replace").rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    waiting = sorted(children.get(pid, []))
    while waiting:
        child = waiting.pop(0)
        yield child
        waiting += sorted(children.get(child, []))


def _kill_and_wait(pid: int) -> None:
    """End one session process; it may be gone already."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        poller.poll(STOP_LIMIT_S * 1000)
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)
