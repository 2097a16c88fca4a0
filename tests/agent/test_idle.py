"""An old site serves builds while it is read."""

import subprocess
import sys
from pathlib import Path

import pytest

from cachemig.agent.peer import Peer
from tests.stores.ways import local_argv

WAIT_S = 30.0


def disk_priority(pid: int) -> str:
    """The scheduling class of a process, as the system names it."""
    argv = ["ionice", "-p", str(pid)]
    done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=WAIT_S)
    return done.stdout.split(":")[0].strip()


@pytest.mark.parametrize(
    ("writer", "waits_for_others"),
    [
        pytest.param({}, True, id="reads"),
        pytest.param({"writer": "run-1-0"}, False, id="writes"),
    ],
)
def test_who_only_reads_lets_others_at_the_disk_first(
    tmp_path: Path, writer: dict[str, str], *, waits_for_others: bool
):
    """A copy may take longer; a build must not."""
    peer = Peer(list(local_argv(sys.executable)), WAIT_S, WAIT_S)
    try:
        about = peer.call("open", root=str(tmp_path), **writer)
        assert (disk_priority(about["pid"]) == "idle") is waits_for_others
    finally:
        peer.close()
