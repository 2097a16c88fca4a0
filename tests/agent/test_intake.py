"""What an agent does with frames that a broken, dying or hostile sender makes."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from cachemig.agent.frames import PeerLost, unpack_json
from cachemig.agent.peer import Peer
from cachemig.agent.protocol import Kind
from cachemig.agent.source import LAST, PART
from tests.cache_files import OLD_NS, archive, contents, put, sha256
from tests.stores.ways import local_argv

WAIT_S = 30.0
NAME = "3f/a1/sstate:a.tar.zst"
CONTENT = archive(1)


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    """An agent that is ready to take in files at the test's folder."""
    peer = Peer(list(local_argv(sys.executable)), WAIT_S, WAIT_S)
    try:
        peer.call("open", root=str(tmp_path), writer="run-1-0", run_id="run-1", server="nfs-9")
        yield peer
    finally:
        peer.close()


def begin(peer: Peer, *paths: str) -> int:
    """Announce a batch."""
    return peer.send("write", {"files": [[path, path] for path in paths], "source_server": "old"})


def part(index: int, data: bytes) -> tuple[Kind, bytes]:
    """Some bytes of a file."""
    return Kind.PART, PART.pack(index) + data


def last(
    index: int, data: bytes, *, whole: bytes | None = None, told: str = "", mtime_ns: int = OLD_NS
) -> tuple[Kind, bytes]:
    """The end of a file, as if `whole` had been read."""
    read = data if whole is None else whole
    digest = bytes.fromhex(sha256(read))
    return Kind.LAST, LAST.pack(index, told.encode(), len(read), mtime_ns, digest) + data


def rows(peer: Peer, request: int) -> Any:
    """The reply to a batch."""
    while True:
        frame = peer.channel.receive()
        if frame.request == request:
            assert frame.kind is Kind.REPLY
            return unpack_json(frame.payload)


def send(peer: Peer, request: int, *frames: tuple[Kind, bytes]) -> None:
    """Send file frames."""
    for kind, payload in frames:
        peer.channel.send(kind, request, payload)


@pytest.mark.parametrize(
    "frames",
    [
        [last(0, CONTENT, whole=bytes(len(CONTENT)))],
        [last(0, CONTENT[:-1], whole=CONTENT)],
        [part(0, b"x"), last(0, CONTENT, whole=CONTENT)],
    ],
    ids=["other-bytes", "too-few", "too-many"],
)
def test_other_bytes_than_were_read_are_not_published(
    tmp_path: Path, peer: Peer, frames: list[tuple[Kind, bytes]]
):
    """The digest of the sender decides; the file is worth another try."""
    request = begin(peer, NAME)
    send(peer, request, *frames)

    ((outcome, _, digest, _, cause, number),) = rows(peer, request)

    assert (outcome, digest, number) == ("failed", "", 0)
    assert "other bytes" in cause
    assert contents(tmp_path) == {}


@pytest.mark.parametrize(
    "frames",
    [
        [last(1, CONTENT)],
        [part(1, CONTENT)],
        [last(0, CONTENT), last(0, CONTENT)],
        [last(0, CONTENT), last(1, CONTENT), part(2, b"x")],
        [(Kind.LAST, b"")],
        [(Kind.PART, b"\0")],
        [last(0, b"", told="nonsense")],
    ],
    ids=["skipped", "part-skipped", "twice", "too-many", "short", "short-part", "outcome"],
)
def test_frames_out_of_order_end_the_agent(
    tmp_path: Path, peer: Peer, frames: list[tuple[Kind, bytes]]
):
    """Nothing comes under a wrong name, and nothing of an unfinished batch at all."""
    request = begin(peer, NAME, f"{NAME}.siginfo")
    send(peer, request, *frames)

    with pytest.raises(PeerLost):
        _hear_out(peer)

    found = contents(tmp_path)
    assert found in ({}, {NAME: CONTENT, f"{NAME}.siginfo": CONTENT})
    assert found == {} or len(frames) == 3


def test_a_sender_that_goes_away_leaves_nothing_of_its_batch(tmp_path: Path, peer: Peer):
    """What came whole before is finished, the temps of the rest are removed."""
    first = begin(peer, NAME)
    send(peer, first, last(0, CONTENT))
    assert rows(peer, first)[0][0] == "published"
    second = begin(peer, "3f/a2/x", "3f/a2/y")
    send(peer, second, last(0, b"12345"), part(1, b"12"))

    assert peer.returncode() == 0

    assert contents(tmp_path) == {NAME: CONTENT}
    assert not list((tmp_path / ".cachemig/temps").iterdir())


def test_two_senders_of_one_file_bring_it_once(tmp_path: Path, peer: Peer):
    """After a lost reply a batch comes again: what is there is present, not foreign."""
    for expected in ("published", "present"):
        request = begin(peer, NAME)
        send(peer, request, last(0, CONTENT))
        assert rows(peer, request)[0][0] == expected
    assert contents(tmp_path) == {NAME: CONTENT}
    assert (tmp_path / NAME).stat().st_nlink == 1


def test_a_name_of_our_own_that_is_there_already_is_a_success(tmp_path: Path, peer: Peer):
    """On NFS the reply to a link can get lost after it was made: our own inode has the name."""
    request = begin(peer, NAME)
    send(peer, request, part(0, CONTENT[:10]))
    (temp,) = _wait_for_temp(tmp_path / "3f/a1")
    os.link(temp, tmp_path / NAME)
    send(peer, request, last(0, CONTENT[10:], whole=CONTENT))

    assert rows(peer, request)[0][0] == "published"
    assert contents(tmp_path) == {NAME: CONTENT}


@pytest.mark.parametrize("mtime_ns", [2**63 - 1, -(2**63), 0, -1])
def test_any_time_is_taken_or_refused(tmp_path: Path, peer: Peer, mtime_ns: int):
    """An odd time never ends the agent."""
    request = begin(peer, NAME)
    send(peer, request, last(0, CONTENT, mtime_ns=mtime_ns))

    outcome = rows(peer, request)[0][0]

    assert outcome in {"published", "failed"}
    assert contents(tmp_path) == ({NAME: CONTENT} if outcome == "published" else {})


def test_an_empty_batch_is_answered(peer: Peer):
    """So that nobody waits for it."""
    assert rows(peer, begin(peer)) == []


def test_a_request_that_is_none_is_refused_and_the_agent_goes_on(tmp_path: Path, peer: Peer):
    """Or it ends; it never hangs, and never answers something else."""
    put(tmp_path, "x", b"1")
    for op, arguments in (("stat", {"paths": ["../x"]}), ("list", {"subtree": "no", "known": {}})):
        request = peer.send(op, arguments)
        frame = peer.channel.receive()
        assert (frame.kind, frame.request) == (Kind.ERROR, request)
    assert peer.call("stat", paths=["x"])[0][0] == 1


def _hear_out(peer: Peer) -> None:
    while True:
        assert peer.channel.receive().kind is Kind.REPLY


def _wait_for_temp(folder: Path) -> list[Path]:

    end = monotonic() + WAIT_S
    while monotonic() < end:
        found = list(folder.glob(".cm-*"))
        if found and found[0].stat().st_size == 10:
            return found
        sleep(0.01)
    raise AssertionError("no temp was made")
