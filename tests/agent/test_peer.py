"""An agent's child process that ends too early is told by whoever asks next, not before."""

import sys

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
