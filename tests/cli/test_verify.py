"""`verify` tells a whole move from one that lacks or lost something; `quarantine` clears it."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests.moved_cache import FOLDER, MovedCache, move_cache

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def moved_once(tmp_path_factory: pytest.TempPathFactory) -> MovedCache:
    """A cache that was just moved; not to be touched."""
    return move_cache(tmp_path_factory.mktemp("moved"), {})


@pytest.fixture
def moved(moved_once: MovedCache, tmp_path: Path) -> MovedCache:
    """A cache that was just moved."""
    return moved_once.copy(tmp_path / "moved")


def run(moved: MovedCache, capfd: Capture, *argv: str) -> tuple[int, list[dict[str, Any]]]:
    """Run a command; returns exit code and events."""
    capfd.readouterr()
    code = moved.cachemig(*argv, "--json")
    output, errors = capfd.readouterr()
    print(errors)  # pytest shows it when the test fails
    return code, [json.loads(line) for line in output.splitlines()]


def rows(events: list[dict[str, Any]], table: str) -> list[dict[str, Any]]:
    """The rows of one table."""
    return [event for event in events if event["type"] == "row" and event["table"] == table]


def values(events: list[dict[str, Any]], table: str) -> list[dict[str, Any]]:
    """The columns of the rows of one table."""
    return [row["values"] for row in rows(events, table)]


def totals(events: list[dict[str, Any]]) -> dict[str, int]:
    """The integrity of all servers together."""
    servers = values(events, "integrity")
    assert {row["checked"] for row in servers} == {"all"}
    counted = servers[0].keys() - {"server", "checked"}
    return {name: sum(row[name] for row in servers) for name in counted}


def files_at(root: Path) -> int:
    """How many files of objects lie at a server."""
    return sum(path.is_file() for path in (root / FOLDER).rglob("sstate:*"))


def overwrite(path: Path, data: bytes) -> None:
    """Rot a file where it lies: its times stay."""
    status = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def flipped(path: Path) -> bytes:
    """The bytes of a file with one bit turned in its middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    return bytes(data)


def foreign_archive(moved: MovedCache, data: bytes, digit: str = "a") -> Path:
    """Put an archive of somebody else where a build would."""
    name = f"sstate:zlib:core2-64-poky-linux:1.3:r0:core2-64:12:{digit * 64}_package.tar.zst"
    path = moved.folder / "new-1" / FOLDER / (digit * 2) / (digit * 2) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_a_moved_cache_is_whole_without_the_old_site(moved: MovedCache, capfd: Capture) -> None:
    """Every file is compared with our receipt; nobody asks the old site."""
    files = files_at(moved.old)
    shutil.rmtree(moved.old)

    code, events = run(moved, capfd, "verify", "integrity", "new")

    assert code == 0
    assert totals(events)["whole"] == files > 60
    assert not rows(events, "finding")
    planned = {e["server"]: e["files_planned"] for e in events if e["type"] == "check_progress"}
    there = {server: files_at(moved.folder / server) for server in ("new-1", "new-2")}
    assert planned == there
    assert sum(there.values()) == files


@pytest.mark.parametrize("lost", ["state", "servers"])
def test_either_copy_of_the_receipts_is_enough(
    moved: MovedCache, capfd: Capture, lost: str
) -> None:
    """The state may be lost, or a server's own folder; the proof stands."""
    if lost == "state":
        shutil.rmtree(moved.folder / ".cachemig" / "receipts")
    else:
        for server in ("new-1", "new-2"):
            shutil.rmtree(moved.folder / server / ".cachemig" / "receipts")
    overwrite(moved.archives("new-1")[0], flipped(moved.archives("new-1")[0]))

    code, events = run(moved, capfd, "verify", "integrity", "new")

    assert code == 6
    assert totals(events)["differs"] == 1
    assert totals(events)["structure_only"] == 0


def test_lines_that_are_no_receipts_are_passed_over_and_told(
    moved: MovedCache, capfd: Capture
) -> None:
    """Whoever may write at a server may spoil a line there; that is no reason to prove nothing."""
    (receipts, *_) = (moved.folder / "new-1" / ".cachemig" / "receipts").glob("*.jsonl")
    good = json.loads(receipts.read_text().splitlines()[0])
    spoilt: dict[str, list[Any]] = {
        "size_bytes": ["many", -1, 2**70, None, True],
        "path": ["", 5, "x" * 300_000],
        "time": ["yesterday", "\n", None],
        "run_id": ["a\ud800b", "two\nlines", {}],
        "sha256": ["", "f" * 63],
        "v": [2, "1"],
    }
    lines = [json.dumps({**good, name: value}) for name in spoilt for value in spoilt[name]]
    with receipts.open("a") as file:
        file.writelines(f"{line}\n" for line in [*lines, "[]", "7", "null", '{"v": 1}'])
        file.write('{"v": 1, "to')

    code, events = run(moved, capfd, "verify", "integrity", "new")

    assert code == 0
    assert totals(events)["unproved"] == totals(events)["structure_only"] == 0
    [problem] = [event for event in events if event["type"] == "server_problem"]
    assert problem["server"] == "new-1"
    assert problem["what"].startswith(f"{len(lines) + 4} lines")


@pytest.mark.parametrize("suffix", ["", ".siginfo"])
def test_one_wrong_bit_is_found(moved: MovedCache, capfd: Capture, suffix: str) -> None:
    """Same size, same times, other bytes than our receipt: exit 6, the file named."""
    archive = moved.archives("new-1")[0]
    victim = archive.with_name(archive.name + suffix)
    overwrite(victim, flipped(victim))

    code, events = run(moved, capfd, "verify", "integrity", "new")

    assert code == 6
    [finding] = values(events, "finding")
    assert (finding["server"], finding["state"]) == ("new-1", "differs")
    assert finding["path"] == moved.below_root(victim)
    assert "our receipt says" in finding["cause"]


def test_a_missing_file_is_reported(moved: MovedCache, capfd: Capture) -> None:
    """A cleaner may have removed it: told, and no failure."""
    victim = moved.archives("new-2")[0]
    victim.unlink()

    code, events = run(moved, capfd, "verify", "integrity", "new")

    assert code == 0
    assert totals(events)["missing"] == 1
    assert [f["path"] for f in values(events, "finding")] == [moved.below_root(victim)]


def test_what_the_numbers_do_not_say_is_said(moved: MovedCache, capfd: Capture) -> None:
    """A site of which nothing was proved is no proved site; and a lost file is no loss for good."""
    moved.archives("new-1")[0].unlink()

    for site, said in (
        ("old", "nothing there was compared with a receipt"),
        ("new", "comes again"),
    ):
        capfd.readouterr()
        assert moved.cachemig("verify", "integrity", site) == 0
        assert said in "".join(capfd.readouterr())


def test_what_others_brought_is_checked_by_its_structure(moved: MovedCache, capfd: Capture) -> None:
    """Whole and cut archives without a receipt are told apart; exit 6 for the cut one."""
    data = moved.archives("new-1")[0].read_bytes()
    foreign_archive(moved, data, "a")
    cut = foreign_archive(moved, data[: len(data) // 2], "b")

    code, events = run(moved, capfd, "verify", "integrity", "new")

    assert code == 6
    assert totals(events)["structure_only"] == 1
    [finding] = values(events, "finding")
    assert (finding["state"], finding["path"]) == ("damaged", moved.below_root(cut))
    assert "ends" in finding["cause"]


def test_deep_finds_what_the_structure_does_not_tell(moved: MovedCache, capfd: Capture) -> None:
    """A whole zstd archive of a broken tar, of others, is found by unpacking alone."""
    broken = foreign_archive(moved, zstandard.compress(b"no tar at all" * 99))

    shallow, _ = run(moved, capfd, "verify", "integrity", "new")
    code, events = run(moved, capfd, "verify", "integrity", "new", "--deep")

    assert (shallow, code) == (0, 6)
    [finding] = values(events, "finding")
    assert (finding["state"], finding["path"]) == ("damaged", moved.below_root(broken))


def test_a_file_that_can_not_be_read_is_no_damage(moved: MovedCache, capfd: Capture) -> None:
    """A receipted name that is a link now counts as absent; nothing is called damaged."""
    victim = moved.archives("new-1")[0]
    elsewhere = victim.rename(moved.folder / "elsewhere")
    victim.symlink_to(elsewhere)

    code, events = run(moved, capfd, "verify", "integrity", "new")

    assert code == 0
    assert [f["state"] for f in values(events, "finding")] == ["missing"]


def test_presence_after_a_move(moved: MovedCache, capfd: Capture) -> None:
    """Everything is where builds will look."""
    code, events = run(moved, capfd, "verify", "presence", "old", "new")

    assert code == 0
    assert {row["state"] for row in values(events, "presence")} == {"present"}


def test_presence_names_what_is_absent(moved: MovedCache, capfd: Capture) -> None:
    """Missing, on the wrong server, without its companion: exit 5, one by one."""
    gone, misrouted = moved.archives("new-1")[:2]
    gone.unlink()
    other = moved.folder / "new-2" / misrouted.relative_to(moved.folder / "new-1")
    other.parent.mkdir(parents=True, exist_ok=True)
    misrouted.rename(other)
    lonely = moved.archives("new-2")[0]
    while lonely == other or not lonely.with_name(lonely.name + ".siginfo").exists():
        lonely = moved.archives("new-2")[moved.archives("new-2").index(lonely) + 1]
    lonely.with_name(lonely.name + ".siginfo").unlink()

    code, events = run(moved, capfd, "verify", "presence", "old", "new")

    assert code == 5
    states = {row["path"].rpartition("/")[2]: row["state"] for row in values(events, "absent")}
    assert states == {
        gone.name: "missing",
        misrouted.name: "wrong_server",
        lonely.name: "incomplete",
    }


def test_what_another_build_left_is_named_when_asked_for(moved: MovedCache, capfd: Capture) -> None:
    """It is normal, so it is only counted; with -v each is listed."""
    other = moved.archives("new-1")[0]
    other.write_bytes(zstandard.compress(b"of another build"))

    _, counted = run(moved, capfd, "verify", "presence", "old", "new")
    code, named = run(moved, capfd, "verify", "presence", "old", "new", "-v")

    assert code == 0
    assert not rows(counted, "absent")
    assert [row["path"].rpartition("/")[2] for row in values(named, "absent")] == [other.name]


@pytest.mark.parametrize(
    ("harm", "check", "words"),
    [
        ("missing", "presence old new", ["sync old new"]),
        ("damaged", "presence old new", ["quarantine new", "sync old new"]),
        ("differs", "integrity new", ["quarantine new --deep"]),
    ],
)
def test_a_check_that_fails_says_what_to_type(
    moved: MovedCache, capfd: Capture, harm: str, check: str, words: list[str]
) -> None:
    """The same check would only fail again."""
    victim = moved.archives("new-1")[0]
    data = {"missing": None, "damaged": b"", "differs": flipped(victim)}[harm]
    overwrite(victim, data) if data is not None else victim.unlink()

    code, events = run(moved, capfd, "verify", *check.split())

    assert code in {5, 6}
    told = " && ".join(f"cachemig {word} --config {moved.config}" for word in words)
    assert events[-1]["resume_command"] == told
    assert events[-2]["text"] == f"next: {told}"


def test_presence_goes_by_the_saved_inventory_of_a_dark_site(
    moved: MovedCache, capfd: Capture
) -> None:
    """The old site is gone; what it held was written down, and the age of that is told."""
    moved.old.rename(moved.folder / "dark")

    code, events = run(moved, capfd, "verify", "presence", "old", "new")

    notices = [event["text"] for event in events if event["type"] == "notice"]
    assert code == 0
    assert any("does not answer" in text for text in notices)
    assert any("inventory of" in text and "ago" in text for text in notices)


def test_saved_does_not_ask_the_old_site(moved: MovedCache, capfd: Capture) -> None:
    """What came to be there since is not looked at."""
    archive = next((moved.old / FOLDER).rglob("sstate:*.tar.zst"))
    later = archive.with_name(archive.name.replace("sstate:", "sstate:late-"))
    shutil.copy(archive, later)

    saved, _ = run(moved, capfd, "verify", "presence", "old", "new", "--saved")
    asked, _ = run(moved, capfd, "verify", "presence", "old", "new")

    assert (saved, asked) == (0, 5)


def test_quarantine_says_what_it_would_do(moved: MovedCache, capfd: Capture) -> None:
    """A dry run, and a run that nobody confirms, touch nothing."""
    victim = moved.archives("new-1")[0]
    victim.write_bytes(b"")

    dry, events = run(moved, capfd, "quarantine", "new", "--dry-run")
    unconfirmed, _ = run(moved, capfd, "quarantine", "new")

    assert (dry, unconfirmed) == (0, 2)
    [found] = values(events, "damaged")
    assert (found["server"], found["path"]) == ("new-1", moved.below_root(victim))
    assert found["damage"] == "empty"
    assert victim.exists()


def test_quarantine_frees_the_name_for_the_next_sync(moved: MovedCache, capfd: Capture) -> None:
    """Archive and signature go aside, nothing is deleted, and a sync fills the name."""
    victim = moved.archives("new-1")[0]
    whole = victim.read_bytes()
    victim.write_bytes(whole[:100])
    signature = victim.with_name(victim.name + ".sig")
    signature.write_bytes(b"of the damaged one")

    code, events = run(moved, capfd, "quarantine", "new", "--yes")

    assert code == 0
    aside = {row["path"]: row["new_path"] for row in values(events, "set_aside")}
    assert set(aside) == {moved.below_root(victim), moved.below_root(signature)}
    kept = moved.folder / "new-1" / aside[moved.below_root(victim)]
    assert kept.read_bytes() == whole[:100]
    assert not victim.exists()
    assert not signature.exists()
    moved.sync()
    assert victim.read_bytes() == whole
    assert run(moved, capfd, "verify", "integrity", "new")[0] == 0
    assert run(moved, capfd, "quarantine", "new", "--dry-run")[0] == 0


def test_deep_quarantine_takes_what_is_not_ours_any_more(moved: MovedCache, capfd: Capture) -> None:
    """An archive with a wrong bit has a whole structure; its receipt betrays it."""
    victim = moved.archives("new-1")[0]
    whole = victim.read_bytes()
    overwrite(victim, flipped(victim))

    shallow, events = run(moved, capfd, "quarantine", "new", "--dry-run")
    code, _ = run(moved, capfd, "quarantine", "new", "--deep", "--yes")

    assert (shallow, code) == (0, 0)
    assert not rows(events, "damaged")
    moved.sync()
    assert victim.read_bytes() == whole


@pytest.mark.parametrize(("answer", "code"), [("set aside", 0), ("yes", 2), ("", 2)])
def test_a_person_confirms_by_typing(moved: MovedCache, answer: str, code: int) -> None:
    """Only the words that were asked for."""
    victim = moved.archives("new-1")[0]
    victim.write_bytes(b"")
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "cachemig", "quarantine", "new", "--config", str(moved.config)],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    os.write(ours, f"{answer}\n".encode())
    output, errors = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)

    assert process.returncode == code, errors
    assert victim.exists() == bool(code)
    assert b"empty" in output


def test_a_sync_that_is_under_way_keeps_quarantine_out(moved: MovedCache, capfd: Capture) -> None:
    """The lock of the root holds for both."""
    moved.archives("new-1")[0].write_bytes(b"")
    lock = moved.folder / "new-1" / ".cachemig" / "lock"
    holder = subprocess.Popen(["flock", str(lock), "sleep", "60"], start_new_session=True)
    try:
        deadline = time.monotonic() + 20
        while subprocess.run(["flock", "-n", str(lock), "true"], check=False).returncode == 0:
            assert time.monotonic() < deadline
        code, _ = run(moved, capfd, "quarantine", "new", "--yes")
    finally:
        os.killpg(holder.pid, 9)
        holder.wait(10)

    assert code == 9
    assert moved.archives("new-1")[-1].stat().st_size == 0
