"""What a server says is looked at before anything relies on it."""

import pytest

from cachemig.agent.frames import Frame
from cachemig.agent.protocol import Kind
from cachemig.agent.source import LAST, PART, FileEnd
from cachemig.stores.answers import NonsenseError, file_pieces

PIECE = Frame(Kind.PART, 1, bytearray(PART.pack(0) + b"abc"))
END = Frame(Kind.LAST, 1, bytearray(LAST.pack(0, b"", 5, 7, bytes(32)) + b"de"))


def test_a_file_comes_in_parts_and_has_an_end():
    """The end carries what is left of it, its size and its time."""
    first, end = file_pieces([PIECE, END], 5)

    assert first == b"abc"
    assert isinstance(end, FileEnd)
    assert (bytes(end.data), end.outcome, end.size_bytes, end.mtime_ns) == (b"de", None, 5, 7)


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [PIECE],
        [END, END],
        [END, PIECE],
        [PIECE._replace(payload=bytearray(3)), END],
        [PIECE, END._replace(payload=END.payload[:-3])],
        [PIECE, END._replace(payload=bytearray())],
        [PIECE, END._replace(payload=bytearray(LAST.pack(1, b"", 5, 7, bytes(32))))],
        [PIECE, END._replace(payload=bytearray(LAST.pack(0, b"splendid", 5, 7, bytes(32))))],
        [PIECE, PIECE, END],
        [PIECE, END._replace(payload=END.payload + b"f")],
        [PIECE, PIECE._replace(payload=PIECE.payload[:4]), END],
    ],
    ids=[
        *("none", "no-end", "ends", "after", "short-part", "short-end", "empty", "other"),
        *("outcome", "large", "large-end", "empty-part"),
    ],
)
def test_frames_that_are_no_file_make_no_sense(frames):
    """A server that sends them is not believed, and nothing else breaks by it."""
    with pytest.raises(NonsenseError):
        list(file_pieces(frames, 5))
