"""The lock that keeps one sync in flight is a courtesy, and hangs nobody."""

import fcntl
import os
import time
from pathlib import Path

from cachemig.agent.durable import TURN_LIMIT_S, Durability
from cachemig.agent.root import OwnFiles
from cachemig.agent.tree import Tree

SLACK_S = 5.0


def test_a_hung_process_that_holds_the_lock_hangs_nobody(tmp_path: Path) -> None:
    """A stopped agent never lets go; the others sync all the same, and soon."""
    (tmp_path / "3f").mkdir()
    hung = OwnFiles(Tree(str(tmp_path))).sync_lock()
    fcntl.flock(hung, fcntl.LOCK_EX)
    tree = Tree(str(tmp_path))
    mine = Durability(tree, OwnFiles(tree).sync_lock())

    began_s = time.monotonic()
    mine.settle([], {"3f"})

    assert time.monotonic() - began_s < TURN_LIMIT_S + SLACK_S
    os.close(hung)
