"""From site to site the bytes take the way that was planned; what each line carried proves it."""

from pathlib import Path

import pytest

from tests.e2e import oracle
from tests.e2e.sites import Ran, Sites, fill
from tests.servers.proxy import NewProxy
from tests.servers.sshd import NewSshd

OBJECTS = 24
SIZE_BYTES = 200_000
FEW_BYTES = OBJECTS * SIZE_BYTES // 4
"""Plans, receipts and the agent's source pass a line that carries no file."""


class Ways:
    """Two sites, each behind an sshd of its own, and a host between them; all lines counted."""

    def __init__(self, folder: Path, new_sshd: NewSshd, new_proxy: NewProxy) -> None:
        self.sites = Sites(folder)
        sshds = {name: new_sshd() for name in ("old-1", "new-1", "hop")}
        self.lines = {name: new_proxy(sshd) for name, sshd in sshds.items()}
        self.hosts = {name: self.lines[name].behind(sshd) for name, sshd in sshds.items()}
        self.old = self.sites.add("old", "old-1", sshd=self.hosts["old-1"])
        self.new = self.sites.add("new", "new-1", sshd=self.hosts["new-1"])
        self.sites.log_in_at(self.hosts["hop"])
        self.sites.ssh |= {"silence_limit": "6s"}
        fill(self.old, range(OBJECTS), SIZE_BYTES)
        self.manifest = oracle.digests(self.old)

    def sync(self, *options: str) -> Ran:
        """Sync, and check what arrived."""
        ran = self.sites.sync(*options)
        assert oracle.faults(self.manifest, [self.new]) == []
        return ran

    def carried(self, name: str) -> bool:
        """Whether the files went over the line to a host, and not only a few words."""
        passed_bytes = self.lines[name].passed_bytes
        assert passed_bytes < FEW_BYTES or passed_bytes > OBJECTS * SIZE_BYTES
        return passed_bytes > FEW_BYTES


@pytest.fixture
def ways(tmp_path: Path, new_sshd: NewSshd, new_proxy: NewProxy) -> Ways:
    """Two sites and a host between them."""
    return Ways(tmp_path, new_sshd, new_proxy)


def complete(ways: Ways, ran: Ran) -> bool:
    """Whether all of it is there."""
    assert ran.code == 0, ran.err.decode()
    return oracle.missing(ways.manifest, [ways.new]) == set()


def test_directly(ways: Ways) -> None:
    """The mover runs on the old server: the line between that and us carries only words."""
    ran = ways.sync()

    assert complete(ways, ran)
    assert not ways.carried("old-1")
    assert ways.carried("new-1")
    assert "directly, the mover runs on old-1" in ran.err.decode()


def test_through_this_machine(ways: Ways) -> None:
    """With --via-here the files come here first."""
    ran = ways.sync("--via-here")

    assert complete(ways, ran)
    assert ways.carried("old-1")
    assert ways.carried("new-1")
    assert ways.lines["hop"].connections == 0


def test_through_a_host_of_choice(ways: Ways) -> None:
    """With --run-on that host reads from the one and writes to the other; we carry words."""
    hop = ways.hosts["hop"].url("").rstrip("/")
    ran = ways.sync("--run-on", hop)

    assert complete(ways, ran)
    assert ways.carried("old-1")
    assert ways.carried("new-1")
    assert ways.lines["hop"].connections > 0
    assert not ways.carried("hop")


def unreachable(ways: Ways, line: str) -> Ran:
    """Sync while the old server's own ssh settings have one more line."""
    config = ways.sites.folder / "ssh_config"
    name, _, _ = line.partition(" ")
    kept = [old for old in config.read_text().splitlines() if not old.strip().startswith(name)]
    config.write_text("\n".join([line, *kept]) + "\n")
    ran = ways.sync()
    assert oracle.missing(ways.manifest, [ways.new]) == ways.manifest.keys()
    return ran


@pytest.mark.parametrize(
    ("line", "code", "file"),
    [
        pytest.param("ProxyCommand /bin/false", 7, "ssh -F", id="does not reach it"),
        pytest.param("UserKnownHostsFile /dev/null", 8, "known_hosts", id="does not know it"),
        pytest.param("IdentityFile /dev/null", 7, "~/.ssh/authorized_keys", id="has no key"),
    ],
)
def test_an_old_server_that_can_not_log_in_at_the_new_one(
    ways: Ways, line: str, code: int, file: str
) -> None:
    """What to mend is said to be there and not here, and the way out; through here it works."""
    ran = unreachable(ways, line)

    assert ran.code == code, ran.err.decode()
    assert ran.error["server"] == "new-1"
    assert ran.error["message"].startswith("old-1 could not reach new-1: ")
    step = ran.error["next_step"]
    assert step.startswith("on old-1")
    assert file in step
    assert "--via-here" in step
    for ours in ("identity_file", "known_hosts_file"):
        assert ways.sites.ssh[ours] not in step
    assert complete(ways, ways.sync("--via-here"))
