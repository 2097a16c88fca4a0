"""A mover that loses an end says which, and why, for every batch that was not answered."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cachemig.agent.frames import Channel, PeerLost, unpack_json
from cachemig.agent.mover import DialledSource, LocalSource, Mover, Source
from cachemig.agent.peer import Peer
from cachemig.agent.protocol import Kind
from cachemig.agent.tree import Tree
from cachemig.agent.walk import Links

LIMIT_S = 20.0
HANGS_UP_AND_DIES_LATER = "exec <&- >&-; sleep 1; echo Permission denied >&2; exit 255"
DIES_AT_ONCE = "echo no such host >&2; exit 255"
STAYS = "cat > /dev/null"
BATCH: dict[str, Any] = {"files": [], "limits_bytes": [], "source_server": "old"}


class Controller:
    """The controlling side of a mover: sends it batches, and keeps the errors that come."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.errors: dict[int, Any] = {}
        self.came = threading.Event()
        threading.Thread(target=self._receive, daemon=True).start()

    def errors_of_batches_sent_until_one_fails(self, mover: Mover) -> list[Any]:
        """What was told of all of them."""
        number = 0
        while not self.came.wait(0.01):
            number += 1
            mover.move(number, BATCH)
        mover.move(number + 1, BATCH)
        while len(self.errors) <= number:
            self.came.clear()
            assert self.came.wait(LIMIT_S)
        return list(self.errors.values())

    def _receive(self) -> None:
        try:
            while True:
                frame = self._channel.receive()
                assert frame.kind is Kind.ERROR
                self.errors[frame.request] = unpack_json(frame.payload)
                self.came.set()
        except PeerLost:
            return


@contextmanager
def moving(source: Source, destination: Peer) -> Iterator[tuple[Mover, Controller]]:
    """A mover with its ends, and its controlling side."""
    ours, theirs = socket.socketpair()
    near, far = (
        Channel(os.dup(end.fileno()), os.dup(end.fileno()), LIMIT_S) for end in (ours, theirs)
    )
    try:
        yield Mover(far, source, destination), Controller(near)
    finally:
        ours.shutdown(socket.SHUT_RDWR)
        destination.close()
        for end in (near, far, ours, theirs):
            end.close()


def child(script: str) -> Peer:
    """An end that is no agent at all."""
    return Peer(["sh", "-c", script], LIMIT_S, LIMIT_S)


def test_a_destination_that_goes_is_told_with_its_last_words(tmp_path: Path) -> None:
    """Also to batches that come while it is dying: a refused login is no lost line."""
    tree = Tree(str(tmp_path))
    with moving(LocalSource(tree, Links([tree])), child(HANGS_UP_AND_DIES_LATER)) as (mover, far):
        errors = far.errors_of_batches_sent_until_one_fails(mover)

    assert {error["end"] for error in errors} == {"destination"}
    assert {(error.get("returncode"), error.get("stderr")) for error in errors} == {
        ("255", "Permission denied\n")
    }


def test_a_source_that_goes_is_told_with_its_last_words() -> None:
    """The destination may be well, and the mover itself is."""
    source = child(DIES_AT_ONCE)
    with moving(DialledSource(source), child(STAYS)) as (mover, far):
        errors = far.errors_of_batches_sent_until_one_fails(mover)
    source.close()

    assert {error["end"] for error in errors} == {"source"}
    assert {(error.get("returncode"), error.get("stderr")) for error in errors} == {
        ("255", "no such host\n")
    }
