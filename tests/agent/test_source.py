"""A file is read whole as it was at one moment, or it is told why not."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachemig.agent.protocol import PART_BYTES, Kind
from cachemig.agent.source import LAST, PART, FileFrame, digest_of, read_batch
from cachemig.agent.tree import Tree
from cachemig.agent.walk import Links
from tests.cache_files import OLD_NS, archive, put, sha256

LIMIT_BYTES = 1024 * 1024 * 1024
SIZE_BYTES = 4 * PART_BYTES + 1234
SIGINFO = "3f/sstate:a.tar.zst.siginfo"


class Came(NamedTuple):
    """What frames said of one file."""

    outcome: str
    content: bytes
    size_bytes: int
    mtime_ns: int
    sha256: str


def came_of(frames: Iterator[FileFrame]) -> list[Came]:
    """Put the files of a batch together again."""
    files: list[Came] = []
    parts = b""
    for kind, head, data in frames:
        if kind is Kind.PART:
            assert PART.unpack(head) == (len(files),)
            parts += data
            continue
        index, told, size_bytes, mtime_ns, digest = LAST.unpack(head)
        assert index == len(files)
        outcome = told.rstrip(b"\0").decode()
        files.append(
            Came(
                outcome,
                bytes(data) if outcome else parts + data,
                size_bytes,
                mtime_ns,
                digest.hex(),
            )
        )
        parts = b""
    return files


def unbounded(*paths: str) -> list[tuple[str, int]]:
    """Files that may be as large as they like."""
    return [(path, LIMIT_BYTES) for path in paths]


def read(root: Path, *paths: str) -> list[Came]:
    """Read files below a root without any hurry."""
    tree = Tree(str(root))
    return came_of(read_batch(tree, Links([tree]), unbounded(*paths)))


def read_while(root: Path, path: str, happens: Callable[[], object], after_frames: int = 1) -> Came:
    """Read a file; something happens to it after some of its frames were made."""
    tree = Tree(str(root))

    def frames() -> Iterator[FileFrame]:
        batch = read_batch(tree, Links([tree]), unbounded(path))
        for number, frame in enumerate(batch, start=1):
            assert number > after_frames or frame.kind is Kind.PART, "it was read before"
            yield frame
            if number == after_frames:
                happens()

    (came,) = came_of(frames())
    return came


@given(sizes=st.lists(st.integers(0, 3), max_size=4), off=st.sampled_from([-1, 0, 1, 777]))
@settings(max_examples=30, deadline=None)
def test_any_files_come_whole(tmp_path_factory: pytest.TempPathFactory, sizes: list[int], off: int):
    """Around every multiple of a part: bytes, size, digest and time."""
    root = tmp_path_factory.mktemp("source")
    contents = [os.urandom(max(0, size * PART_BYTES + off)) for size in sizes]
    paths = [f"3f/{number}" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        put(root, path, content)

    assert read(root, *paths) == [Came("", c, len(c), OLD_NS, sha256(c)) for c in contents]


@pytest.mark.parametrize("after_frames", [1, 2, 4])
@pytest.mark.parametrize(
    "happens",
    [
        lambda path: os.truncate(path, SIZE_BYTES + 4),
        lambda path: os.truncate(path, SIZE_BYTES - 1),
        lambda path: os.truncate(path, 0),
        lambda path: os.truncate(path, 2 * SIZE_BYTES),
    ],
    ids=["grown", "shrunk", "emptied", "stretched"],
)
def test_another_size_is_changed(
    tmp_path: Path, happens: Callable[[Path], object], after_frames: int
):
    """Whatever was read of it is given up, with the reason."""
    path = put(tmp_path, SIGINFO, os.urandom(SIZE_BYTES))

    came = read_while(tmp_path, SIGINFO, lambda: happens(path), after_frames)

    assert came.outcome == "changed"
    assert b"size" in came.content


@pytest.mark.parametrize("over_bytes", [0, 1])
def test_a_file_beyond_its_limit_is_changed_before_a_byte_is_sent(tmp_path: Path, over_bytes: int):
    """What it has grown to no longer matters then."""
    put(tmp_path, SIGINFO, os.urandom(SIZE_BYTES))
    tree = Tree(str(tmp_path))

    frames = read_batch(tree, Links([tree]), [(SIGINFO, SIZE_BYTES - over_bytes)])
    (came,) = came_of(frames)

    assert came.outcome == ("changed" if over_bytes else "")
    assert (len(came.content) == SIZE_BYTES) is not bool(over_bytes)


def test_the_digest_of_a_file_that_grows_has_an_end(tmp_path: Path):
    """It is that of the size it had."""
    content = os.urandom(SIZE_BYTES)
    with put(tmp_path, SIGINFO, content + b"more").open("rb") as file:
        assert digest_of(file.fileno(), SIZE_BYTES).hex() == sha256(content)
        assert digest_of(file.fileno(), 2 * SIZE_BYTES).hex() == sha256(content + b"more")


def overwrite(path: Path, content: bytes, *, at: int = 0) -> None:
    """Write into a file as it stands: its inode and size stay."""
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)


def test_a_rewrite_at_the_same_size_is_changed(tmp_path: Path):
    """Else a mixture of old and new bytes would go out with a matching digest."""
    path = put(tmp_path, SIGINFO, bytes(SIZE_BYTES))

    came = read_while(tmp_path, SIGINFO, lambda: overwrite(path, b"\1" * SIZE_BYTES))

    assert came.outcome == "changed"
    assert b"content" in came.content


def test_a_rewrite_that_sets_its_time_back_is_changed(tmp_path: Path):
    """The time of the inode's change can not be set, so it tells."""
    path = put(tmp_path, SIGINFO, bytes(SIZE_BYTES))

    def rewrite() -> None:
        overwrite(path, b"\1" * SIZE_BYTES)
        os.utime(path, ns=(OLD_NS, OLD_NS))

    assert read_while(tmp_path, SIGINFO, rewrite).outcome == "changed"


def test_a_rewrite_of_what_was_not_read_yet_is_taken_as_it_is(tmp_path: Path):
    """All of it was there at one moment: then it is a whole file."""
    path = put(tmp_path, SIGINFO, bytes(SIZE_BYTES))

    came = read_while(tmp_path, SIGINFO, lambda: overwrite(path, b"\1", at=SIZE_BYTES - 1))

    assert came.outcome == ""
    assert came.content == path.read_bytes()
    assert came.sha256 == sha256(came.content)


def test_a_file_that_is_only_touched_is_sent(tmp_path: Path):
    """BitBake touches on every hit; the new time goes with it."""
    content = os.urandom(SIZE_BYTES)
    path = put(tmp_path, SIGINFO, content)

    came = read_while(tmp_path, SIGINFO, lambda: os.utime(path, ns=(OLD_NS + 5, OLD_NS + 5)))

    assert came == Came("", content, SIZE_BYTES, OLD_NS + 5, sha256(content))


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_is_removed_or_replaced_while_open_comes_whole(tmp_path: Path, replaced: bool):
    """Its old bytes, all of them, and none of the new."""
    content = os.urandom(SIZE_BYTES)
    path = put(tmp_path, SIGINFO, content)
    put(tmp_path, "new", os.urandom(SIZE_BYTES))

    def happens() -> None:
        if replaced:
            (tmp_path / "new").replace(path)
        else:
            path.unlink()

    came = read_while(tmp_path, SIGINFO, happens)

    assert (came.outcome, came.content) == ("", content)


def test_a_damaged_archive_does_not_travel(tmp_path: Path):
    """What was sent of it is given up at its end; a companion is no archive."""
    cut = archive(1, SIZE_BYTES)[:-1]
    put(tmp_path, "3f/sstate:a.tar.zst", cut)
    put(tmp_path, SIGINFO, cut)

    damaged, companion = read(tmp_path, "3f/sstate:a.tar.zst", SIGINFO)

    assert damaged.outcome == "damaged"
    assert damaged.content
    assert (companion.outcome, companion.content) == ("", cut)


def test_what_can_not_be_sent_says_why_and_stops_nothing(tmp_path: Path):
    """Each file of a batch has an outcome of its own."""
    put(tmp_path, "3f/good", b"good")
    os.mkfifo(tmp_path / "3f/pipe")
    (tmp_path / "3f/out").symlink_to("/etc/passwd")
    (tmp_path / "3f/loop").symlink_to("loop")
    (tmp_path / "3f/in").symlink_to("../3f/good")
    (tmp_path / "3f/folder").mkdir()
    paths = ["gone", "pipe", "out", "loop", "in", "folder", "good/x", "../../x"]

    came = read(tmp_path, *(f"3f/{path}" for path in paths), "3f/good")

    outcomes = {path: file.outcome for path, file in zip([*paths, "good"], came, strict=True)}
    assert outcomes == {
        "gone": "vanished",
        "pipe": "rejected",
        "out": "rejected",
        "loop": outcomes["loop"],
        "in": "",
        "folder": "rejected",
        "good/x": "failed",
        "../../x": "rejected",
        "good": "",
    }
    assert outcomes["loop"]
    assert all(file.content for file in came)
    assert came[4].content == came[-1].content == b"good"


def open_descriptors() -> int:
    """How many this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


def test_no_descriptor_is_left_open(tmp_path: Path):
    """Not after a whole file, a broken one, or a reader who lost interest."""
    put(tmp_path, SIGINFO, os.urandom(SIZE_BYTES))
    put(tmp_path, "3f/sstate:a.tar.zst", b"broken")
    tree = Tree(str(tmp_path))
    list(read_batch(tree, Links([tree]), unbounded(SIGINFO)))
    before = open_descriptors()

    list(read_batch(tree, Links([tree]), unbounded(SIGINFO, "3f/sstate:a.tar.zst", "3f/none")))
    frames = read_batch(tree, Links([tree]), unbounded(SIGINFO))
    next(frames)
    frames.close()  # type: ignore[attr-defined]

    assert open_descriptors() == before
