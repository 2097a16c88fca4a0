"""What every store must do, however it is reached; `test_contract.py` runs it over all ways."""

import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cachemig.agent.protocol import OWN_DIRECTORY
from cachemig.agent.walk import ENTRIES_AT_ONCE
from cachemig.errors import AccessError, IncompleteError, LockedError, ScanError
from cachemig.stores.base import DirectoryListing, FileEntry, FileStat
from cachemig.stores.remote import Holder, RemoteStore
from tests.cache_files import OLD_NS, archive, object_path, put, sha256
from tests.nobody import give_to_nobody, open_folder
from tests.stores.ways import Ground, Way

GONE_WAIT_S = 20.0


def listed(
    store: RemoteStore, subtree: str, known: dict[str, int] | None = None
) -> dict[str, DirectoryListing]:
    """A walk, by directory."""
    return {listing.path: listing for listing in store.list(subtree, known or {})}


class StoreContract:
    """The questions that a store answers, and the few things it changes."""

    def test_a_walk_tells_every_file_once_sorted_with_size_and_time(self, ground: Ground):
        """Directories have listings of their own; what is neither file nor link is told as such."""
        for name, content in (("b", b"22"), ("a", b"1"), ("3f/a1/c", b"333"), ("3f/a1/A", b"")):
            put(ground.target, name, content)
        os.mkfifo(ground.target / "pipe")

        found = listed(ground.store, ground.folder)

        pipe_ns = (ground.target / "pipe").lstat().st_mtime_ns
        assert {path: list(listing.entries) for path, listing in found.items()} == {
            ground.folder: [
                FileEntry("a", "f", 1, OLD_NS),
                FileEntry("b", "f", 2, OLD_NS),
                FileEntry("pipe", "o", 0, pipe_ns),
            ],
            f"{ground.folder}/3f": [],
            f"{ground.folder}/3f/a1": [
                FileEntry("A", "f", 0, OLD_NS),
                FileEntry("c", "f", 3, OLD_NS),
            ],
        }

    def test_a_leaf_with_its_old_time_is_not_read_again(self, ground: Ground):
        """It is told as unchanged; a leaf with another time, and any parent, is read."""
        for leaf in ("3f/a1", "3f/a2"):
            put(ground.target, f"{leaf}/x", b"1")
        known = {
            path: entry.mtime_ns for path, entry in listed(ground.store, ground.folder).items()
        }
        (ground.target / "3f/a1/new").touch()
        os.utime(ground.target / "3f/a1", ns=(OLD_NS, OLD_NS))

        again = listed(ground.store, ground.folder, known)

        assert {path for path, listing in again.items() if listing.unchanged} == {
            f"{ground.folder}/3f/a2"
        }
        assert not again[f"{ground.folder}/3f/a2"].entries
        assert [entry.name for entry in again[f"{ground.folder}/3f/a1"].entries] == ["new", "x"]

    def test_a_huge_directory_is_one_listing(self, ground: Ground):
        """It travels in parts, since what it holds may be more than a message can carry."""
        folder = put(ground.target, "3f/a1/00000", b"").parent
        names = [f"{number:05}" for number in range(2 * ENTRIES_AT_ONCE + 1)]
        for name in names[1:]:
            os.link(folder / "00000", folder / name)

        path = f"{ground.folder}/3f/a1"
        found = [one for one in ground.store.list(path, {}) if one.path == path]

        assert [[entry.name for entry in one.entries] for one in found] == [names]

    def test_our_own_folder_is_never_shown(self, way: Way, tmp_path: Path):
        """What cachemig keeps at a root is no part of the cache."""
        put(tmp_path, f"{OWN_DIRECTORY}/receipts/x.jsonl", b"{}")
        put(tmp_path, "3f/a1/x", b"1")

        with way.open(tmp_path) as store:
            assert set(listed(store, "")) == {"", "3f", "3f/a1"}

    def test_a_link_is_resolved_below_a_followed_root_only(self, way: Way, tmp_path: Path):
        """A link to anywhere else, or to nothing, has no size; its words are told."""
        root, other, outside = (tmp_path / name for name in ("root", "other", "outside"))
        for folder in (root, other, outside):
            put(folder, "a1/file", b"12345")
        links = {
            "sstate:inside": "../a1/file",
            "sstate:followed": f"{other}/a1/file",
            "sstate:outside": f"{outside}/a1/file",
            "sstate:nothing": f"{other}/gone",
            "sstate:loop": "sstate:loop",
        }
        (root / "3f").mkdir()
        for name, target in links.items():
            (root / "3f" / name).symlink_to(target)

        with way.open(root, follow=[other]) as store:
            entries = {entry.name: entry for entry in listed(store, "3f")["3f"].entries}

        assert {name: entry.target for name, entry in entries.items()} == links
        assert {name: entry.size_bytes for name, entry in entries.items()} == {
            "sstate:inside": 5,
            "sstate:followed": 5,
            "sstate:outside": -1,
            "sstate:nothing": -1,
            "sstate:loop": -1,
        }

    def test_a_directory_that_may_not_be_read_fails_the_walk(self, way: Way):
        """What can not be read is never taken for empty; the error names the directory."""
        with open_folder() as root:
            put(root, "3f/a1/x", b"1")
            closed = root / "3f/a2"
            closed.mkdir()
            give_to_nobody(root, root / "3f", root / "3f/a1")
            closed.chmod(0o000)
            with way.open_as_nobody(root) as store:
                with pytest.raises(ScanError) as caught:
                    listed(store, "")
                closed.chmod(0o755)
                assert "3f/a2" in listed(store, "")
        assert (caught.value.server, caught.value.path) == ("nfs-9", "3f/a2")

    @pytest.mark.parametrize("target", ["../elsewhere", "/nowhere"])
    def test_a_slot_directory_that_is_a_link_fails_the_walk(self, ground: Ground, target: str):
        """It may lead to another server's slot, or to a mount that is gone."""
        (ground.target / "elsewhere").mkdir()
        (ground.target / "cache").mkdir()
        (ground.target / "cache/3f").symlink_to(target)

        with pytest.raises(ScanError) as caught:
            listed(ground.store, f"{ground.folder}/cache")

        assert caught.value.path == f"{ground.folder}/cache/3f"

    def test_a_subtree_that_is_missing_fails_the_walk(self, ground: Ground):
        """A cache's folder that is not there is no empty cache."""
        with pytest.raises(ScanError):
            listed(ground.store, f"{ground.folder}/none")

    @pytest.mark.parametrize("name", ["missing", "a-file", "a-file/below"])
    def test_a_missing_root_is_refused_when_it_is_opened(self, way: Way, tmp_path: Path, name: str):
        """An unmounted root is not taken for an empty one."""
        (tmp_path / "a-file").touch()

        with pytest.raises(AccessError) as caught, way.open(tmp_path / name):
            pass

        assert caught.value.server == "nfs-9"
        assert "mounted" in caught.value.next_step

    def test_stat_tells_files_and_takes_links_for_absent(self, ground: Ground):
        """A link at a final name may be replaced; a directory or a file may not."""
        put(ground.target, "3f/a1/file", b"12345")
        (ground.target / "3f/a1/link").symlink_to("file")
        asked = ["3f/a1/file", "3f/a1/link", "3f/a1/none", "4f/no/none", "3f/a1/file/below"]

        found = ground.store.stat([f"{ground.folder}/{path}" for path in asked])

        assert list(found) == [FileStat(5, OLD_NS), None, None, None, None]

    def test_digest_reads_the_bytes_that_are_there(self, ground: Ground):
        """A file that can not be read has a problem and no digest; a link is not followed."""
        put(ground.target, "3f/file", b"12345" * 100_000)
        (ground.target / "3f/link").symlink_to("file")
        paths = [f"{ground.folder}/3f/{name}" for name in ("file", "none", "link")]

        file, none, link = ground.store.digest(paths)

        assert file == (paths[0], 500_000, sha256(b"12345" * 100_000), "")
        assert (none.sha256, link.sha256) == ("", "")
        assert "gone" in none.problem
        assert link.problem

    def test_check_tells_whole_archives_from_damaged_ones(self, ground: Ground):
        """Each is walked to its end on the far side; what can not be looked at is not damaged."""
        whole = archive(1)
        for name, content in (("whole", whole), ("cut", whole[:-1]), ("empty", b"")):
            put(ground.target, f"sstate:{name}.tar.zst", content)
        names = ["whole", "cut", "empty", "none"]

        found = list(
            ground.store.check([f"{ground.folder}/sstate:{name}.tar.zst" for name in names])
        )

        assert [bool(verdict.damage) for verdict in found] == [False, True, True, False]
        assert [bool(verdict.problem) for verdict in found] == [False, False, False, True]
        assert found[0].size_bytes == len(whole)

    def test_touch_moves_times_forward_and_never_back(self, ground: Ground):
        """The later of the two times stays; what is missing or a link is passed over."""
        for name in ("older", "newer", "same"):
            put(ground.target, name, b"1")
        (ground.target / "link").symlink_to("same")
        times = {"older": OLD_NS + 1, "newer": OLD_NS - 1, "same": OLD_NS, "none": 5, "link": 2**62}

        moved = ground.store.touch((f"{ground.folder}/{n}", at) for n, at in times.items())

        assert moved == 1
        found = {n: (ground.target / n).stat().st_mtime_ns for n in ("older", "newer", "same")}
        assert found == {"older": OLD_NS + 1, "newer": OLD_NS, "same": OLD_NS}

    def test_space_is_that_of_the_roots_file_system(self, ground: Ground):
        """Free and total bytes, and free inodes, as the far side counts them."""
        space = ground.store.space()

        here = os.statvfs(ground.place.root)
        assert space.total_bytes == here.f_blocks * here.f_frsize
        assert 0 < space.free_bytes <= space.total_bytes
        assert space.free_inodes > 0

    def test_one_run_holds_a_root_and_its_death_frees_it(self, way: Way, tmp_path: Path):
        """The second is told who holds it; a killed agent leaves no lock behind."""
        with way.open(tmp_path, holder=Holder("run-1", "alice@ci-1 pid 7")) as first:
            with pytest.raises(LockedError) as caught, way.open(tmp_path, holder=Holder("r", "b")):
                pass
            assert "run-1" in caught.value.cause
            assert "alice@ci-1 pid 7" in caught.value.cause
            _kill(_agents_at(tmp_path))
            assert not _agents_at(tmp_path)
            with way.open(tmp_path, holder=Holder("run-2", "bob")) as second:
                assert second.stat(["x"]) == [None]
            with pytest.raises(AccessError):
                first.space()

    def test_a_store_that_was_lost_says_so_whatever_is_asked(self, way: Way, tmp_path: Path):
        """The first error closes the connection; every later question gets one of its kind."""
        with way.open(tmp_path, holder=Holder("run-1", "alice")) as store:
            _kill(_agents_at(tmp_path))
            told = [
                _refusal(question)
                for question in (
                    store.space,
                    lambda: store.stat(["x"]),
                    lambda: list(store.list("", {})),
                    lambda: store.hold(Holder("run-1", "alice")),
                )
            ]
        assert [type(error) for error in told] == [type(told[0])] * 4
        assert {(error.server, error.cause) for error in told[1:]} == {("nfs-9", told[1].cause)}

    def test_the_next_holder_sweeps_the_temps_of_the_dead(self, way: Way, tmp_path: Path):
        """Only what writers noted is removed; a stranger's file of like name stays."""
        put(tmp_path, f"{OWN_DIRECTORY}/temps/run-0-0", b'"3f/a1"\n"../../etc"\n{}\n"3f')
        for name in ("3f/a1/.cm-run-0-0-1", "3f/a1/.cm-other-1", "3f/a2/.cm-run-0-0-1"):
            put(tmp_path, name, b"1")

        with way.open(tmp_path, holder=Holder("run-1", "alice")) as store:
            assert store.swept_temps == 1
            assert [p.name for p in (tmp_path / "3f/a1").iterdir()] == [".cm-other-1"]
            assert store.sweep_temps() == 0

    def test_a_file_set_aside_keeps_its_bytes_under_another_name(self, ground: Ground):
        """BitBake never asks for that name; the walk shows it, so nothing is lost unseen."""
        put(ground.target, "3f/a1/sstate:x", b"broken")
        path = f"{ground.folder}/3f/a1/sstate:x"

        ((told, aside),) = ground.store.set_aside([path], "run-1")

        assert told == path
        assert aside.startswith(f"{ground.folder}/3f/a1/.cm-aside-")
        assert (ground.place.root / aside).read_bytes() == b"broken"
        assert not (ground.place.root / path).exists()

    def test_a_store_tells_the_clock_of_its_server(self, ground: Ground):
        """As it was when the root was opened."""
        assert 0 < time.time_ns() - ground.store.opened_at_ns < 3600 * 10**9

    def test_read_file_streams_the_bytes_here(self, ground: Ground):
        """A file that is gone, or larger than was known, is told as such."""
        content = os.urandom(700_000)
        put(ground.target, "3f/file", content)

        assert b"".join(ground.store.read_file(f"{ground.folder}/3f/file", 700_000)) == content
        with pytest.raises(IncompleteError, match="read whole"):
            list(ground.store.read_file(f"{ground.folder}/3f/none", 700_000))
        with pytest.raises(IncompleteError, match="read whole"):
            list(ground.store.read_file(f"{ground.folder}/3f/file", 699_999))
        assert ground.store.stat([f"{ground.folder}/none"]) == [None]

    def test_an_answer_that_is_being_read_comes_before_the_next_question(self, ground: Ground):
        """Two answers would mix; that is a fault of ours, and told at once instead of for ever."""
        paths = [f"{ground.folder}/{number}" for number in range(5000)]
        reading = ground.store.digest(paths)
        first = next(reading)

        for question in (ground.store.space, lambda: next(ground.store.list("", {}))):
            with pytest.raises(RuntimeError, match="to its end first"):
                question()

        assert [first.path, *(digest.path for digest in reading)] == paths
        assert ground.store.space().total_bytes > 0

    def test_an_answer_that_nobody_reads_on_is_passed_over(self, ground: Ground):
        """The next question gets its own answer."""
        put(ground.target, "file", os.urandom(700_000))
        paths = [f"{ground.folder}/{number}" for number in range(5000)]
        for reading in (
            ground.store.digest(paths),
            ground.store.read_file(f"{ground.folder}/file", 700_000),
            ground.store.list(ground.folder, {}),
        ):
            next(reading)
            reading.close()

            assert ground.store.stat([f"{ground.folder}/file"]) == [FileStat(700_000, OLD_NS)]

    def test_names_that_are_no_utf8_come_through_unchanged(self, ground: Ground):
        """A name is bytes; what is no text is escaped, and meant when it is asked for again."""
        name = os.fsdecode(b"sstate:\xff\xfe\n\x1b[2J:x")
        put(ground.target, f"3f/{name}", b"12345")

        (entry,) = listed(ground.store, f"{ground.folder}/3f")[f"{ground.folder}/3f"].entries

        assert entry.name == name
        assert ground.store.stat([f"{ground.folder}/3f/{name}"]) == [FileStat(5, OLD_NS)]

    @pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "a//b", "./a", "a\0b"])
    def test_a_question_about_what_no_root_holds_is_refused(self, ground: Ground, path: str):
        """A path that could lead outside is refused by name; the connection goes on."""
        with pytest.raises(IncompleteError, match="outside the root"):
            ground.store.stat([path])

        assert ground.store.touch([(object_path(ground.folder, 1), 1)]) == 0


def _refusal(question: Callable[[], object]) -> AccessError:
    """The error that a question gets."""
    with pytest.raises(AccessError) as caught:
        question()
    return caught.value


def _agents_at(root: Path) -> list[int]:
    """The processes that have the lock file of a root open."""
    lock = (root / OWN_DIRECTORY / "lock").resolve()
    return [pid for pid in _pids() if lock in _open_files(pid)]


def _pids() -> Iterator[int]:
    return (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())


def _open_files(pid: int) -> set[Path]:
    try:
        return {path.readlink() for path in Path(f"/proc/{pid}/fd").iterdir()}
    except OSError:
        return set()


def _kill(pids: list[int]) -> None:
    """End processes that this test started, and wait until they are gone."""
    assert pids
    for pid in pids:
        handle = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            _wait_until_gone(handle)
        finally:
            os.close(handle)


def _wait_until_gone(handle: int) -> None:

    poll = select.poll()
    poll.register(handle, select.POLLIN)
    assert poll.poll(GONE_WAIT_S * 1000), "a killed agent is still there"
