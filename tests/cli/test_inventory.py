"""`cachemig scan` and `inventory`, as an operator uses them."""

import json

import pytest

from tests.catalog.made import HASH, object_name
from tests.cli.running import cachemig, events

NAME = object_name()
OTHER = object_name(HASH.replace("3fa1", "c001"), pn="busybox")
CONFIG = """
[site.old]
[[site.old.server]]
name = "nfs-1"
url = "{0}/nfs-1"
[[site.old.server]]
name = "nfs-2"
url = "{0}/nfs-2"
[site.new]
[[site.new.server]]
name = "nfs-9"
url = "{0}/nfs-9"
"""


@pytest.fixture
def place(tmp_path):
    """An old site of two servers and an empty new one."""
    for path, content in {
        f"nfs-1/3f/a1/{NAME}": b"12345",
        f"nfs-1/3f/a1/{NAME}.siginfo": b"123",
        f"nfs-2/c0/01/{OTHER}": b"",
        "nfs-2/c0/01/evil\x1b[2J.lock": b"",
        "nfs-9/.keep": b"",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    (tmp_path / "cachemig.toml").write_text(CONFIG.format(tmp_path))
    return tmp_path


@pytest.fixture
def scanned(place):
    """The same, both sites scanned."""
    for site in ("old", "new"):
        ran = cachemig("scan", site, cwd=place)
        assert ran.returncode == 0, ran.stderr
    return place


def test_a_scan_prints_what_each_server_holds(place):
    """A table on standard output, remarks beside it."""
    ran = cachemig("scan", "old", cwd=place)

    assert ran.returncode == 0
    assert [" ".join(line.split()) for line in ran.stdout.splitlines()] == [
        "name objects signatures links strays misplaced damaged files size",
        "nfs-1 1 0 0 0 0 0 2 8 B",
        "nfs-2 1 0 0 1 0 1 2 0 B",
        "stray files size",
        "rejected 1 0 B",
    ]
    assert "every directory was read" in ran.stderr


def test_a_scan_in_json_gives_rows_and_progress(place):
    """Every line is an event."""
    told = events(cachemig("scan", "old", "--json", cwd=place).stdout)

    assert {e["server"] for e in told if e["type"] == "scan_progress"} == {"nfs-1", "nfs-2"}
    rows = [e["values"] for e in told if e["type"] == "row" and e["table"] == "server"]
    assert [(row["name"], row["objects"], row["size_bytes"]) for row in rows] == [
        ("nfs-1", 1, 8),
        ("nfs-2", 1, 0),
    ]


def test_archives_are_checked_on_demand(place):
    """Five bytes are no archive; an empty one needs no look."""
    ran = cachemig("scan", "old", "--check-archives", cwd=place)
    shown = cachemig("inventory", "show", "old", "--damaged", cwd=place)

    assert "checked the structure of 1 archives" in ran.stderr
    assert [line.split()[0] for line in shown.stdout.splitlines()] == ["nfs-1", "nfs-2"]
    assert "(empty)" in shown.stdout


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("server", ["nfs-1", "nfs-2"]),
        ("cache", ["default"]),
        ("slot", ["3f", "c0"]),
        ("pn", ["busybox", "zlib"]),
        ("task", ["package"]),
        ("stray", ["rejected"]),
    ],
)
def test_totals_are_shown_by_one_property(scanned, by, names):
    """From the saved inventory, whose age is told."""
    ran = cachemig("inventory", "show", "old", "--by", by, cwd=scanned)

    assert [line.split()[0] for line in ran.stdout.splitlines()[1:]] == names
    assert "inventory of" in ran.stderr


def test_what_a_stray_is_called_can_not_harm_a_terminal(scanned):
    """In text it is printed escaped, in JSON as JSON."""
    text = cachemig("inventory", "show", "old", "--strays", cwd=scanned).stdout
    told = events(cachemig("inventory", "show", "old", "--strays", "--json", cwd=scanned).stdout)

    assert text == "nfs-2  default  c0/01/evil\\x1b[2J.lock  (rejected)\n"
    (row,) = [event["values"] for event in told if event["type"] == "row"]
    assert row["path"] == "c0/01/evil\x1b[2J.lock"


def test_sites_are_compared(scanned):
    """What is on one side only, in objects and bytes."""
    told = events(cachemig("inventory", "diff", "old", "new", "--json", cwd=scanned).stdout)

    (row,) = [event["values"] for event in told if event["type"] == "row"]
    assert (row["cache"], row["only_one"], row["only_one_bytes"]) == ("default", 2, 5)


def test_a_difference_is_printed_with_the_names_of_both_sites(scanned):
    """Objects and sizes have columns of their own."""
    head, row = cachemig("inventory", "diff", "old", "new", cwd=scanned).stdout.splitlines()

    assert " ".join(head.split()) == (
        "cache same other size only old only new size only old size only new"
    )
    assert " ".join(row.split()) == "default 0 0 2 0 5 B 0 B"


@pytest.fixture
def drifted(place):
    """Two sites that have one object alike, and three that differ in every way."""
    third, same = object_name(HASH.replace("3fa1", "c002")), object_name("d0" * 32)
    for path, content in {
        f"nfs-9/3f/a1/{NAME}": b"123456",
        f"nfs-9/c0/02/{third}": b"1",
        f"nfs-1/d0/d0/{same}": b"12",
        f"nfs-9/d0/d0/{same}": b"34",
    }.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_bytes(content)
    for site in ("old", "new"):
        ran = cachemig("scan", site, cwd=place)
        assert ran.returncode == 0, ran.stderr
    return place


def test_objects_that_differ_are_listed_for_people(drifted):
    """Where each lies, and at which site; sizes to the byte."""
    ran = cachemig("inventory", "diff", "old", "new", "--objects", cwd=drifted)

    assert ran.returncode == 0
    assert ran.stdout.splitlines() == [
        f"nfs-1  default  3f/a1/{NAME}  (5 bytes at old, 6 at new)",
        f"nfs-2  default  c0/01/{OTHER}  (only old)",
        f"nfs-9  default  c0/02/{object_name(HASH.replace('3fa1', 'c002'))}  (only new)",
    ]


def test_objects_that_differ_are_rows_of_json(drifted):
    """As many as the totals count, under the same words; nothing stands for a site without it."""
    asked = ("inventory", "diff", "old", "new", "--json")
    told = events(cachemig(*asked, "--objects", cwd=drifted).stdout)
    (total,) = [e["values"] for e in events(cachemig(*asked, cwd=drifted).stdout) if "table" in e]

    rows = [e["values"] for e in told if e.get("table") == "objects"]
    assert [(row["what"], row["server"], row["size_bytes"]) for row in rows] == [
        ("other_size", "nfs-1", 5),
        ("only_one", "nfs-2", 0),
        ("only_other", None, None),
    ]
    assert [(row["other_server"], row["other_size_bytes"]) for row in rows] == [
        ("nfs-9", 6),
        (None, None),
        ("nfs-9", 1),
    ]
    assert rows[0]["path"] == f"3f/a1/{NAME}"
    assert all(total[row["what"]] == 1 for row in rows)
    assert total["same"] == 1


def test_an_empty_server_has_a_row_of_zeros(place):
    """Nothing there is an answer; no row would be a riddle."""
    ran = cachemig("scan", "new", cwd=place)

    assert " ".join(ran.stdout.splitlines()[1].split()).startswith("nfs-9 0 0 0 ")
    assert ran.stderr.splitlines()[-1].startswith("every directory was read, ")


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["inventory", "show", "old"], 2, "cachemig scan old"),
        (["inventory", "show", "old", "--links", "--by", "pn"], 2, "exclude each other"),
        (["inventory", "show", "odl"], 2, "old"),
        (["inventory", "diff", "old", "new"], 2, "cachemig scan old"),
    ],
)
def test_a_question_that_can_not_be_answered_says_what_to_do(place, argv, code, said):
    """Nothing was scanned yet, or the question is none."""
    ran = cachemig(*argv, cwd=place)

    assert ran.returncode == code
    assert said in ran.stderr
    assert ran.stdout == ""


def test_an_emptied_site_is_refused_with_its_own_exit_code(scanned):
    """3: it could not be read whole; and the old inventory still answers."""
    (scanned / "nfs-1/3f/a1" / NAME).unlink()
    (scanned / "nfs-1/3f/a1" / f"{NAME}.siginfo").unlink()

    ran = cachemig("scan", "old", "--json", cwd=scanned)

    assert ran.returncode == 3
    (error,) = [event for event in events(ran.stdout) if event["type"] == "error"]
    assert (error["slug"], error["server"]) == ("scan", "nfs-1")
    assert "--allow-empty" in error["next_step"]
    shown = cachemig("inventory", "show", "old", "--json", cwd=scanned).stdout
    assert json.dumps(NAME)[1:-1] not in shown
    assert sum(e["values"]["objects"] for e in events(shown) if e.get("table") == "server") == 2
    assert cachemig("scan", "old", "--allow-empty", cwd=scanned).returncode == 0
