"""Temps belong to whoever made them, as long as that process lives."""

import os
import sys
from pathlib import Path

import pytest

from cachemig.agent.peer import Peer
from cachemig.agent.protocol import ASIDE_PREFIX, OWN_DIRECTORY
from cachemig.agent.root import OwnFiles, temp_prefix
from cachemig.agent.tree import Tree
from tests.nobody import as_nobody, open_folder
from tests.stores.ways import local_argv

WAIT_S = 30.0
LOCK = f"{OWN_DIRECTORY}/lock"
WRITER = "20260131T235959Z-0a1b2c-0"


def test_temps_of_a_living_writer_are_not_swept(tmp_path: Path) -> None:
    """Else a run that lost its lock unseen would lose its bytes as well."""
    temp = tmp_path / f"{temp_prefix(WRITER)}1"
    temp.touch()
    writer = OwnFiles(Tree(str(tmp_path)))
    writer.note_temps(WRITER, [""])

    assert OwnFiles(Tree(str(tmp_path))).sweep_temps() == 0
    assert temp.exists()


def test_temps_of_a_dead_writer_are_swept(tmp_path: Path) -> None:
    """Its note is forgotten with them."""
    temp = tmp_path / f"{temp_prefix(WRITER)}1"
    temp.touch()
    note = tmp_path / ".cachemig" / "temps" / WRITER
    note.parent.mkdir(parents=True)
    note.write_text('""\n')

    assert OwnFiles(Tree(str(tmp_path))).sweep_temps() == 1
    assert not temp.exists()
    assert not note.exists()


def test_a_file_that_was_set_aside_is_no_temp(tmp_path: Path) -> None:
    """No note may have it swept, whatever name the note has."""
    aside = tmp_path / f"{ASIDE_PREFIX}0123456789abcdef"
    aside.touch()
    note = tmp_path / ".cachemig" / "temps" / "aside"
    note.parent.mkdir(parents=True)
    note.write_text('""\n')

    assert OwnFiles(Tree(str(tmp_path))).sweep_temps() == 0
    assert aside.exists()
    assert note.exists()


@pytest.mark.timeout(10)
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_no_note_and_no_receipt(tmp_path: Path, make) -> None:
    """A pipe would be waited for without end; a directory holds no lines."""
    own = tmp_path / ".cachemig"
    for folder, name in (("temps", WRITER), ("receipts", f"{WRITER}.jsonl")):
        (own / folder).mkdir(parents=True)
        make(own / folder / name)
    files = OwnFiles(Tree(str(tmp_path)))

    assert files.sweep_temps() == 0
    assert list(files.receipts()) == []


@pytest.mark.timeout(10)
def test_a_pipe_in_the_place_of_a_list_is_refused(tmp_path: Path) -> None:
    """Nobody would ever read what is written there."""
    put = tmp_path / "damaged"
    put.touch()
    (tmp_path / ".cachemig").mkdir()
    os.mkfifo(tmp_path / ".cachemig" / "aside.jsonl")

    with pytest.raises(OSError, match="No such device"):
        OwnFiles(Tree(str(tmp_path))).set_aside("damaged", "run")

    assert put.exists()


def test_a_line_nested_without_end_is_passed_over(tmp_path: Path) -> None:
    """It is as torn as any other line that is no JSON."""
    receipts = tmp_path / ".cachemig" / "receipts"
    receipts.mkdir(parents=True)
    (receipts / f"{WRITER}.jsonl").write_text("[" * 200_000 + '\n{"v": 1}\n')

    assert list(OwnFiles(Tree(str(tmp_path))).receipts()) == [{"v": 1}]


def test_another_root_that_is_closed_does_not_close_this_one() -> None:
    """Links into it lead nowhere; what lies here is served."""
    with open_folder() as folder:
        ours, closed = folder / "ours", folder / "closed"
        ours.mkdir()
        closed.mkdir(mode=0)
        peer = Peer(list(as_nobody(local_argv(sys.executable))), WAIT_S, WAIT_S)
        try:
            follow = [str(ours), str(closed), str(folder / "absent")]
            assert peer.call("open", root=str(ours), follow=follow)["protocol"]
        finally:
            peer.close()


def test_a_root_is_known_again_from_its_first_lock_on(tmp_path: Path) -> None:
    """Whoever locks it; and no two roots are known by the same."""
    ids = []
    for name in ("x", "x", "y"):
        (tmp_path / name).mkdir(exist_ok=True)
        own = OwnFiles(Tree(str(tmp_path / name)))
        found = own.root_id()
        ids.append((found, own.lock("run", "me")))
        (tmp_path / name / LOCK).rename(tmp_path / name / f"{LOCK}-{len(ids)}")

    (first, x), (again, same), (other, y) = ids
    assert (first, again, same, other) == ("", x, x, "")
    assert x
    assert x != y


@pytest.mark.parametrize("odd", ["", "0", "0" * 17, "\0" * 16, "../../../../../.."])
def test_what_is_no_id_is_none(tmp_path: Path, odd: str) -> None:
    """A server can not tell what it likes by it; the next lock leaves a good one."""
    (tmp_path / OWN_DIRECTORY).mkdir()
    (tmp_path / OWN_DIRECTORY / "root-id").write_text(odd)
    own = OwnFiles(Tree(str(tmp_path)))
    assert own.root_id() == ""
    assert own.lock("run", "me") == own.root_id() != ""
