"""An agent's child process that ends too early is told by whoever asks next, not before."""

import sys
import time
from pathlib import Path

import pytest

from cachemig.agent.frames import PeerLost
from cachemig.agent.peer import Peer

LIMIT_S = 20.0


def test_a_child_that_dies_at_once_is_told_when_asked() -> None:
    """Its source can not be sent then; the error is that of the first question, with stderr."""
    end_at_once = [sys.executable, "-I", "-S", "-c", "import os; os.write(2, b'no'); os._exit(7)"]
    for _ in range(20):  # the child's end and the sending of the source race each other
        peer = Peer(end_at_once, LIMIT_S, LIMIT_S)
        with pytest.raises(PeerLost):
            peer.call("space")
        assert (peer.returncode(), peer.stderr_text()) == (7, "no")
        peer.close()


def test_a_child_that_talks_without_end_is_not_remembered_whole() -> None:
    """Only its last words are kept, in this process or in the kernel."""
    talk = "import os; any(os.write(2, b'x' * 65536) < 0 for _ in range(4000)); os.write(2, b'end')"
    before_kib = _memory_kib()
    peer = Peer([sys.executable, "-I", "-S", "-c", talk], LIMIT_S, LIMIT_S)
    with pytest.raises(PeerLost):
        peer.call("space")

    assert peer.process.wait(LIMIT_S) == 0
    assert peer.stderr_text().endswith("xend")
    assert len(peer.stderr_text()) == 8192
    assert _memory_kib() - before_kib < 50_000
    peer.close()
    assert peer.stderr_text().endswith("xend")


def test_a_childs_child_that_keeps_stderr_open_is_not_waited_for() -> None:
    """A connection that ssh shares lives on; what was said until now is told."""
    argv = ["sh", "-c", "echo refused >&2; sleep 15 <&- >&- & exit 255"]
    peer = Peer(argv, LIMIT_S, LIMIT_S)
    started_s = time.monotonic()
    with pytest.raises(PeerLost):
        peer.call("space")

    assert (peer.returncode(), peer.stderr_text()) == (255, "refused\n")
    peer.close()
    assert time.monotonic() - started_s < LIMIT_S / 2


def _memory_kib() -> int:
    """The shared memory of this machine, where memory files count."""
    line = next(x for x in Path("/proc/meminfo").read_text().splitlines() if x.startswith("Shmem:"))
    return int(line.split()[1])
