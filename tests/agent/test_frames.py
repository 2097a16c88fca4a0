"""Frames come out as they went in, and no wait for a peer is without end."""

import os
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachemig.agent import frames
from cachemig.agent.frames import HEADER, Channel, Frame, PeerLost, pack_json, unpack_json
from cachemig.agent.protocol import BEAT_INTERVAL_S, PART_BYTES, Kind

SHORT_S = 0.3
LONG_S = 60.0
SLACK_S = 10.0

sizes = st.one_of(
    st.integers(0, 100),
    st.sampled_from([PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES]),
    st.integers(0, 400_000),
)
payloads = st.lists(sizes.map(os.urandom), max_size=3)
sent_frames = st.tuples(
    st.sampled_from([kind for kind in Kind if kind is not Kind.BEAT]),
    st.integers(0, 2**32 - 1),
    payloads,
    st.booleans(),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
names = st.binary(max_size=50).map(lambda name: name.decode("utf-8", "surrogateescape"))


@contextmanager
def two_ends(limit_s: float = LONG_S) -> Iterator[tuple[Channel, socket.socket]]:
    """A channel, and the bare socket at its other end."""
    ours, theirs = socket.socketpair()
    with theirs:
        channel = Channel(os.dup(ours.fileno()), os.dup(ours.fileno()), limit_s)
        ours.close()
        try:
            yield channel, theirs
        finally:
            channel.close()


@contextmanager
def connected(limit_s: float = LONG_S) -> Iterator[tuple[Channel, Channel]]:
    """Two channels that talk to each other."""
    with two_ends(limit_s) as (one, their_socket):
        other = Channel(os.dup(their_socket.fileno()), os.dup(their_socket.fileno()), limit_s)
        try:
            yield one, other
        finally:
            other.close()


def lost_within(limit_s: float, wait: Callable[[], object]) -> str:
    """What PeerLost says; it must come not much later than the limit."""
    started = time.monotonic()
    with pytest.raises(PeerLost) as caught:
        wait()
    assert time.monotonic() - started < limit_s + SLACK_S
    return str(caught.value)


@given(frames_in=st.lists(sent_frames, max_size=8))
@settings(max_examples=40, deadline=None)
def test_any_frames_come_out_as_they_went_in(frames_in):
    """Kinds, numbers and bytes, however a payload was divided, queued and flushed."""
    with connected() as (one, other):

        def send() -> None:
            for kind, request, parts, flush in frames_in:
                one.send(kind, request, *parts, flush=flush)
            one.flush()

        sender = threading.Thread(target=send)
        sender.start()
        came = [other.receive() for _ in frames_in]
        sender.join()

    assert came == [Frame(kind, n, bytearray(b"".join(p))) for kind, n, p, _ in frames_in]


@given(value=json_values | st.lists(names))
def test_any_value_comes_through_json(value):
    """Names too that are no UTF-8."""
    assert unpack_json(pack_json(value)) == value


def test_many_threads_may_send_at_once():
    """Their frames are never mixed up."""
    with connected(LONG_S) as (one, other):

        def send(number: int) -> None:
            for _ in range(50):
                one.send(Kind.PART, number, bytes([number]) * (20_000 * (number + 1)))

        senders = [threading.Thread(target=send, args=(number,)) for number in range(4)]
        for sender in senders:
            sender.start()
        came = [other.receive() for _ in range(200)]
        for sender in senders:
            sender.join()

    assert all(p == bytes([n]) * (20_000 * (n + 1)) for _, n, p in came)
    assert sorted(frame.request for frame in came) == sorted(list(range(4)) * 50)


def test_a_stream_cut_at_any_byte_is_a_lost_peer():
    """Half a frame is never delivered, and nobody waits for the other half."""
    whole = HEADER.pack(b"P", 7, 5) + b"12345" + HEADER.pack(b"R", 8, 0)
    for cut in range(len(whole)):
        with two_ends() as (channel, far):
            far.sendall(whole[:cut])
            far.shutdown(socket.SHUT_WR)
            if cut >= HEADER.size + 5:
                assert channel.receive() == Frame(Kind.PART, 7, bytearray(b"12345"))
            assert "closed" in lost_within(1, channel.receive)


@pytest.mark.parametrize(
    "noise",
    [
        b"Last login: Mon Nov 23 08:00:00 2026 from 10.0.0.1\r\n",
        HEADER.pack(b"P", 1, frames.MAX_PAYLOAD_BYTES + 1),
        HEADER.pack(b"?", 1, 0),
        bytes(100),
        b"\xff" * 100,
    ],
    ids=["login", "too-long", "unknown-kind", "zeros", "ones"],
)
def test_nonsense_is_a_lost_peer_at_once(noise):
    """Something else than the agent talks; no 64 MiB are waited for."""
    with two_ends() as (channel, far):
        far.sendall(noise)
        assert "something else" in lost_within(1, channel.receive)


def test_the_longest_frame_is_taken():
    """The limit itself is allowed."""
    with connected() as (one, other):
        sender = threading.Thread(
            target=one.send, args=(Kind.PART, 1, bytes(frames.MAX_PAYLOAD_BYTES))
        )
        sender.start()
        assert len(other.receive().payload) == frames.MAX_PAYLOAD_BYTES
        sender.join()


def test_a_message_that_unpacks_without_end_is_refused():
    """60 kB of zlib can hold a gigabyte."""
    with pytest.raises(PeerLost, match="64 MiB"):
        unpack_json(zlib.compress(b" " * (frames.MAX_PAYLOAD_BYTES + 1)))


@pytest.mark.parametrize(
    "payload",
    [b"", b"no zlib", *map(zlib.compress, (b"{", b"\xff", b"[" * 200_000))],
    ids=["empty", "no-zlib", "torn", "no-text", "too-deep"],
)
def test_a_message_that_is_no_json_is_a_lost_peer(payload):
    """It is not a crash of whoever reads it."""
    with pytest.raises(PeerLost, match="can not be read"):
        unpack_json(payload)


@pytest.mark.parametrize("begun", [b"", b"P", HEADER.pack(b"P", 1, 500_000) + b"some"])
def test_silence_has_a_bound(begun):
    """Between frames and in the middle of one."""
    with two_ends(SHORT_S) as (channel, far):
        far.sendall(begun)
        started = time.monotonic()
        assert "said nothing" in lost_within(SHORT_S, channel.receive)
        assert time.monotonic() - started >= SHORT_S


def test_a_beat_is_no_silence():
    """A peer that works for long without a word is alive as long as it beats."""
    with two_ends(1.0) as (channel, far):
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(0.2):
                far.sendall(HEADER.pack(b"B", 0, 0))

        beating = threading.Thread(target=beat)
        beating.start()
        answer = threading.Timer(2.5, lambda: far.sendall(HEADER.pack(b"R", 3, 0)))
        answer.start()
        try:
            assert channel.receive() == Frame(Kind.REPLY, 3, bytearray())
        finally:
            stop.set()
            beating.join()
            answer.join()


def test_a_channel_beats_well_within_the_silence_limit():
    """So that silence always means a dead peer."""
    with two_ends() as (channel, far):
        channel.start_beating()
        far.settimeout(BEAT_INTERVAL_S + SLACK_S)
        assert far.recv(100) == HEADER.pack(b"B", 0, 0)


def test_a_pipe_that_nobody_reads_has_a_bound():
    """A frozen peer takes nothing; the sender is told instead of hanging."""
    with two_ends(SHORT_S) as (channel, _):
        lost_within(SHORT_S, lambda: channel.send(Kind.PART, 1, bytes(32 * 1024 * 1024)))
        assert "nothing" in lost_within(SHORT_S, lambda: channel.send(Kind.PART, 1, bytes(50_000)))


def test_a_peer_that_has_gone_is_told_to_the_sender():
    """No SIGPIPE ends this process."""
    with two_ends() as (channel, far):
        far.close()
        lost_within(1, lambda: channel.send(Kind.PART, 1, bytes(100_000)))


def test_closing_wakes_nobody_late_and_may_be_done_twice():
    """After it, every use says so."""
    with connected() as (one, _):
        one.close()
        one.close()
        for use in (one.receive, one.flush, lambda: one.send(Kind.PART, 1, b"x")):
            assert "closed here" in lost_within(1, use)


def test_noise_before_the_marker_is_passed_over():
    """A login shell may print; the first frame behind the marker is not lost."""
    with two_ends() as (channel, far):
        far.sendall(b"Welcome!\nmark\n" + HEADER.pack(b"R", 1, 2) + b"ok")
        assert channel.read_noise_until(b"mark\n", 1000, LONG_S) == b"Welcome!\n"
        assert channel.receive().payload == b"ok"


def test_noise_has_a_bound_in_bytes_and_time():
    """A shell that prints without end, or says nothing at all, is given up."""
    with two_ends() as (channel, far):
        far.sendall(b"x" * 5000)
        assert "prints" in lost_within(1, lambda: channel.read_noise_until(b"mark", 1000, LONG_S))
    with two_ends() as (channel, _):
        lost_within(SHORT_S, lambda: channel.read_noise_until(b"mark", 1000, SHORT_S))
