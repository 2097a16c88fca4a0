"""What was published is remembered, and the last word counts."""

import errno
import json
import os
import shutil
from pathlib import Path
from threading import Thread

import pytest

from cachemig.agent.protocol import Outcome
from cachemig.catalog.receipt_writer import ReceiptWriter
from cachemig.catalog.receipts import open_receipts
from cachemig.core.pair import Pair
from cachemig.errors import FormatError, NoSpaceError, OutputError
from cachemig.stores.base import FileReceipt, KeptReceipt, WantedFile
from tests.catalog.made import Held, file, inventory_of, listing, object_name

NAME = object_name()
PAIR = Pair("a", "x")


def kept(path, sha256="aa", outcome=Outcome.PUBLISHED, size_bytes=3):
    """What a destination tells of one file."""
    return FileReceipt(path, outcome, size_bytes, sha256, mtime_ns=4)


def wanted(path):
    """What was asked for."""
    return WantedFile(f"at-source/{path}", path, 3, 4)


def far(path, sha256="ff", time="2020-01-01T00:00:00Z", run_id="20200101"):
    """A receipt as a server keeps it."""
    return KeptReceipt(run_id, time, path, 3, sha256, 4, "old", "a", path)


def digests(state_dir, site="new", **kept_at_servers):
    """Path and digest of each receipt of server x."""
    empty = inventory_of(state_dir, [Held("x", "lmp", listing(""))], site)
    with open_receipts(state_dir, site, kept_at_servers) as book:
        return {file.path: file.sha256 for file in book.audit(empty, {"lmp": ""}, "x")}


@pytest.fixture
def writer(tmp_path):
    """The receipts of one run."""
    with ReceiptWriter(tmp_path, "20260301-ab", "old", "new") as opened:
        yield opened


def test_a_receipt_says_what_where_when_and_whence(tmp_path, writer):
    """One line of JSON for each published file; the names are a promise."""
    writer.keep(PAIR, [wanted("p"), wanted("q")], [kept("p"), kept("q", outcome=Outcome.FOREIGN)])

    (line,) = (tmp_path / "receipts" / "20260301-ab.jsonl").read_text().splitlines()

    receipt = json.loads(line)
    assert receipt.pop("time").endswith("Z")
    assert receipt == {
        "v": 1,
        "run_id": "20260301-ab",
        "site": "new",
        "server": "x",
        "path": "p",
        "size_bytes": 3,
        "sha256": "aa",
        "mtime_ns": 4,
        "source_site": "old",
        "source_server": "a",
        "source_path": "at-source/p",
    }


def test_a_run_that_published_nothing_leaves_no_file(tmp_path, writer):
    """An empty file would say nothing."""
    writer.keep(PAIR, [wanted("q")], [kept("q", outcome=Outcome.PRESENT)])

    assert list((tmp_path / "receipts").iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_receipts_that_can_not_be_kept_are_told_with_their_file(tmp_path, faulty_disk, number):
    """A full disk and a quota are no space; all else is an output that is lost."""
    (tmp_path / "receipts").mkdir()
    disk = faulty_disk(tmp_path / "receipts")

    with ReceiptWriter(tmp_path, "20260301-ab", "old", "new") as writer:
        writer.keep(PAIR, [wanted("p")], [kept("p")])
        disk.fail(f"write {number} 50", "short write 100")
        with pytest.raises(OutputError if number == errno.EIO else NoSpaceError) as caught:
            writer.keep(PAIR, [wanted(f"{n}") for n in range(999)], [kept("q")] * 999)

    assert Path(caught.value.path).read_text().count("\n") == len(digests(tmp_path)) == 1
    assert caught.value.path == str(tmp_path / "receipts" / "20260301-ab.jsonl")
    assert "receipts of this run" in caught.value.what
    assert caught.value.cause == os.strerror(number)


def test_batches_of_many_threads_do_not_mix(tmp_path, writer):
    """Every line is whole."""

    def keep(number):
        for each in range(50):
            paths = [f"{number}/{each}/{part}" for part in range(5)]
            writer.keep(PAIR, [wanted(p) for p in paths], [kept(p) for p in paths])

    threads = [Thread(target=keep, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(digests(tmp_path)) == 4 * 50 * 5


def test_the_later_run_wins_wherever_its_receipt_is_kept(tmp_path, writer):
    """A file may have been set aside and brought again."""
    writer.keep(PAIR, [wanted("p"), wanted("q")], [kept("p"), kept("q")])

    found = digests(tmp_path, x=[far("p"), far("q", time="2099-01-01T00:00:00Z"), far("r")])

    assert found == {"p": "aa", "q": "ff", "r": "ff"}


def test_receipts_at_the_server_are_enough(tmp_path):
    """The machine that ran the sync may be gone."""
    assert digests(tmp_path, x=[far("p")]) == {"p": "ff"}


def test_receipts_of_another_site_are_not_mixed_in(tmp_path, writer):
    """Two sites may have servers of one name."""
    writer.keep(PAIR, [wanted("p")], [kept("p")])

    assert digests(tmp_path, site="old") == {}


def test_a_line_that_a_crash_tore_is_passed_over(tmp_path, writer):
    """What came before it counts."""
    writer.keep(PAIR, [wanted("p")], [kept("p")])
    with (tmp_path / "receipts" / "20260301-ab.jsonl").open("a") as torn:
        torn.write('{"v": 1, "run_id": "20260301-ab", "path": "q", "sha2')

    assert digests(tmp_path) == {"p": "aa"}


@pytest.mark.parametrize("kind", ["pipe", "link to nowhere", "folder"])
def test_what_is_no_file_among_the_receipts_is_named(tmp_path, writer, kind):
    """A pipe would be waited for; and whoever passes over receipts proves less than he says."""
    writer.keep(PAIR, [wanted("p")], [kept("p")])
    path = tmp_path / "receipts" / "zz.jsonl"
    {
        "pipe": lambda: os.mkfifo(path),
        "link to nowhere": lambda: path.symlink_to(tmp_path / "gone"),
        "folder": path.mkdir,
    }[kind]()

    with pytest.raises(FormatError) as caught:
        digests(tmp_path)

    assert caught.value.path == str(path)
    assert "move it away" in caught.value.next_step


@pytest.mark.parametrize("when", ["between batches", "at the end"])
@pytest.mark.parametrize("again", [False, True])
def test_receipts_that_are_taken_away_are_missed(tmp_path, when, again):
    """Written to a file without a name, they would be lost without a word."""
    state_dir = tmp_path / "state"

    def run():
        with ReceiptWriter(state_dir, "20260301-ab", "old", "new") as writer:
            writer.keep(PAIR, [wanted("p")], [kept("p")])
            shutil.rmtree(state_dir)
            if again:
                (state_dir / "receipts").mkdir(parents=True)
                (state_dir / "receipts" / "20260301-ab.jsonl").touch()
            if when == "between batches":
                writer.keep(PAIR, [wanted("q")], [kept("q")])
                pytest.fail("nothing was said")

    with pytest.raises(OutputError, match="receipts of this run") as caught:
        run()

    assert caught.value.path == str(state_dir / "receipts" / "20260301-ab.jsonl")


@pytest.mark.parametrize("path", ["a\\b", 'quo"te', "line\nend", os.fsdecode(b"caf\xe9"), "é"])
def test_any_path_comes_back_as_it_was(tmp_path, writer, path):
    """From the state and from the server alike."""
    writer.keep(PAIR, [wanted(path)], [kept(path)])

    assert digests(tmp_path, x=[far(path), far(path + "2")]) == {path: "aa", path + "2": "ff"}


def test_an_audit_sets_what_is_there_beside_what_was_brought(tmp_path):
    """Either may lack: what others wrote, and what retention removed."""
    new = inventory_of(
        tmp_path,
        [
            Held("x", "lmp", listing("v95/3f/a1", file(NAME, 30), file(f"{NAME}.siginfo", 10))),
            Held("z", "lmp", listing("v95/3f/a1", file(NAME, 30))),
        ],
        site="new",
        folders={"lmp": "v95"},
    )
    base = f"v95/3f/a1/{NAME}"
    with open_receipts(tmp_path, "new", {"x": [far(base), far("v95/gone.siginfo")]}) as book:
        found = list(book.audit(new, {"lmp": "v95"}, "x"))

    assert found == [
        (base, True, 30, 3, "ff"),
        (f"{base}.siginfo", False, 10, None, ""),
        ("v95/gone.siginfo", False, None, 3, "ff"),
    ]
