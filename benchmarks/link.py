"""Two network namespaces with a long link between them, and an sshd at the far end.

Needs root, `gcc`, iproute2 and OpenSSH. Several links may live side by side: each names
its namespaces after the process that made it, and the next run removes those of the dead.
"""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple, TypeAlias

NAMESPACES = Path("/run/netns")
NEAR_ADDRESS, FAR_ADDRESS, LOOPBACK_ADDRESS = "10.77.1.1", "10.77.2.1", "127.0.0.1"
NETWORK = "10.77.0.0/16"
SSH_PORT = 2222
START_LIMIT_S = 20
Child: TypeAlias = subprocess.Popen[bytes]
# One cipher for all copiers: they differ in what they prefer, and ours shall not win by that.
# Another home, because what this machine's user starts with each shell is not to be measured.
SSHD_CONFIG = """\
Port {port}
ListenAddress {address}
HostKey {folder}/host_key
PidFile {folder}/sshd.pid
AuthorizedKeysFile {folder}/user_key.pub
Ciphers {cipher}
SetEnv HOME={folder}
StrictModes no
UsePAM no
PasswordAuthentication no
UseDNS no
Subsystem sftp internal-sftp
"""


@dataclass(frozen=True, slots=True)
class LinkShape:
    """What lies between the two ends.

    Attributes:
        rtt_ms: there and back; 0 means no link at all, both ends share one namespace.
        rate_mbit: per direction.
        loss_percent: of packets, per direction.
        gso: packets of up to 64 KiB, which is cheap; False for a loss per real packet.
        congestion: TCP congestion control; empty for what this machine uses.
        cipher: the only one that the sshd offers.
    """

    rtt_ms: float = 60
    rate_mbit: float = 1000
    loss_percent: float = 0
    gso: bool = True
    congestion: str = ""
    cipher: str = "aes128-gcm@openssh.com"


class Ssh(NamedTuple):
    """How to log in at the far end."""

    address: str
    port: int
    identity_file: Path
    known_hosts_file: Path

    def argv(self, *command: str) -> list[str]:
        """Run a command at the far end, in the plainest way ssh has."""
        return [*self.client(), f"root@{self.address}", *command]

    def client(self) -> list[str]:
        """All of ssh's arguments but the host, as `rsync -e` wants them."""
        options = {
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": str(self.known_hosts_file),
            "StrictHostKeyChecking": "yes",
            "BatchMode": "yes",
            "LogLevel": "ERROR",
        }
        chosen = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        return ["ssh", "-F", "none", "-p", str(self.port), "-i", str(self.identity_file), *chosen]


class Link:
    """A running link. Made by `link_up`."""

    def __init__(
        self, ends: tuple[str, str], ssh: Ssh, sshd_pid: int, emulator: Child | None
    ) -> None:
        self.near, self.far = ends
        self.ssh = ssh
        self._sshd_pid = sshd_pid
        self._emulator = emulator

    def near_argv(self, argv: Sequence[str]) -> list[str]:
        """Run a program of this machine as if it stood at the near end."""
        return ["nsenter", f"--net={NAMESPACES / self.near}", "--", *argv]

    def cut(self, *, down: bool) -> None:
        """Swallow every packet from now on, or let them pass again."""
        assert self._emulator is not None, "a loopback can not be cut"
        self._emulator.send_signal(signal.SIGUSR1 if down else signal.SIGUSR2)

    def bytes_on_wire(self) -> tuple[int, int]:
        """Bytes that the far end has received and sent so far."""
        argv = [
            "ip",
            "-n",
            self.far,
            "-s",
            "-j",
            "link",
            "show",
            "wan0" if self._emulator else "lo",
        ]
        found = json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)
        count = found[0]["stats64"]
        return int(count["rx"]["bytes"]), int(count["tx"]["bytes"])

    def far_cpu_s(self) -> float:
        """Processor time of the sshd and of all sessions that have ended.

        Source: proc(5), /proc/PID/stat, fields 14 to 17 (own and of waited-for children).
        """
        after_name = Path("/proc", str(self._sshd_pid), "stat").read_text().rpartition(")")[2]
        return sum(map(int, after_name.split()[11:15])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def link_up(shape: LinkShape, folder: Path) -> Iterator[Link]:
    """Bring up a link with an sshd at its far end; take all of it down at the end.

    Args:
        shape: what lies between the ends.
        folder: a new folder for keys, logs and sockets.
    """
    assert os.geteuid() == 0, "network namespaces need root: run as root"
    remove_namespaces_of_the_dead()
    folder.mkdir(parents=True)
    near = far = f"cachemig-{os.getpid()}-near"
    address, carrier = LOOPBACK_ADDRESS, None
    with contextlib.ExitStack() as on_exit:
        on_exit.enter_context(namespace(near))
        if shape.rtt_ms > 0:
            far = on_exit.enter_context(namespace(f"cachemig-{os.getpid()}-far"))
            carrier = on_exit.enter_context(emulator(shape, near, far, folder))
            address = FAR_ADDRESS
        make_keys(folder, address)
        ssh = Ssh(address, SSH_PORT, folder / "user_key", folder / "known_hosts")
        server = on_exit.enter_context(sshd(far, ssh, shape.cipher, folder))
        yield Link((near, far), ssh, server.pid, carrier)


@contextlib.contextmanager
def namespace(name: str) -> Iterator[str]:
    """Make a network namespace in which no run profits from what TCP learnt in an earlier one."""
    run("ip", "netns", "add", name)
    try:
        run("ip", "-n", name, "link", "set", "lo", "up")
        forget = "net.ipv4.tcp_no_metrics_save=1"
        run("nsenter", f"--net={NAMESPACES / name}", "--", "sysctl", "-q", "-w", forget)
        yield name
    finally:
        run("ip", "netns", "delete", name)


def remove_namespaces_of_the_dead() -> None:
    """Remove the namespaces of runs that were killed."""
    for left in NAMESPACES.glob("cachemig-*"):
        if not Path("/proc", left.name.split("-")[1]).exists():
            run("ip", "netns", "delete", left.name)


@contextlib.contextmanager
def emulator(shape: LinkShape, near: str, far: str, folder: Path) -> Iterator[Child]:
    """Run the link emulator between two namespaces, which get an address each."""
    numbers = (shape.rtt_ms, shape.rate_mbit, shape.loss_percent, int(shape.gso))
    argv = [str(built_emulator(folder.parent.parent)), near, far, *map(str, numbers)]
    log_file = folder / "wanem.log"
    with log_file.open("w") as log, child(argv, log) as process:
        wait_for(lambda: "ready" in log_file.read_text(), "the link emulator")
        for name, address in ((near, NEAR_ADDRESS), (far, FAR_ADDRESS)):
            run("ip", "-n", name, "address", "add", f"{address}/16", "dev", "wan0")
            run("ip", "-n", name, "link", "set", "wan0", "txqueuelen", "4000", "up")
            if shape.congestion:
                # Of a route, since a namespace's own default must be one of those that any
                # user of this machine may choose.
                route = [NETWORK, "dev", "wan0", "src", address, "congctl", shape.congestion]
                run("ip", "-n", name, "route", "replace", *route)
        yield process


def built_emulator(shelf: Path) -> Path:
    """Compile the link emulator unless this very source is compiled already."""
    source = Path(__file__).with_name("wanem.c")
    program = shelf / f"wanem-{hashlib.sha256(source.read_bytes()).hexdigest()[:12]}"
    if not program.exists():
        assert shutil.which("gcc"), "the link emulator is compiled with gcc: apt-get install gcc"
        run("gcc", "-O2", "-Wall", "-o", str(program), str(source), "-lm")
    return program


def make_keys(folder: Path, address: str) -> None:
    """Make a host key and a user key, and let the host be known."""
    for name in ("host_key", "user_key"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(folder / name))
    public = (folder / "host_key.pub").read_text()
    (folder / "known_hosts").write_text(f"[{address}]:{SSH_PORT} {public}")


@contextlib.contextmanager
def sshd(where: str, ssh: Ssh, cipher: str, folder: Path) -> Iterator[Child]:
    """Run an sshd with default MaxStartups and MaxSessions in a namespace."""
    Path("/run/sshd").mkdir(exist_ok=True)
    settings = folder / "sshd_config"
    settings.write_text(
        SSHD_CONFIG.format(port=ssh.port, address=ssh.address, folder=folder, cipher=cipher)
    )
    argv = ["/usr/sbin/sshd", "-D", "-e", "-f", str(settings)]
    with (folder / "sshd.log").open("w") as log:
        enter = ["nsenter", f"--net={NAMESPACES / where}", "--"]
        with child([*enter, *argv], log) as process:
            wait_for(lambda: "listening" in (folder / "sshd.log").read_text(), "sshd")
            yield process


@contextlib.contextmanager
def child(argv: Sequence[str], log: IO[str]) -> Iterator[Child]:
    """Run a program in the background; end it by its own process id."""
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(is_ready: Callable[[], bool], what: str) -> None:
    """Wait until something is ready, for a bounded time."""
    deadline = time.monotonic() + START_LIMIT_S
    while not is_ready():
        assert time.monotonic() < deadline, f"{what} did not start within {START_LIMIT_S} s"
        time.sleep(0.02)


def run(*argv: str) -> None:
    """Run a short program to its end; its failure is ours."""
    subprocess.run(argv, check=True, timeout=60, stdin=subprocess.DEVNULL)
