"""Temps belong to whoever made them, as long as that process lives."""

from pathlib import Path

from cachemig.agent.root import OwnFiles, temp_prefix
from cachemig.agent.tree import Tree

WRITER = "20260131T235959Z-0a1b2c-0.0.0"


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
