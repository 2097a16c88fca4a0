"""What `sync` says of its plan, and how to go on after it."""

import pytest

from cachemig.agent.protocol import Outcome
from cachemig.cli.onward import Onward
from cachemig.core.events import ObjectDone
from cachemig.errors import ExitCode
from tests.cli.running import cachemig
from tests.e2e.sites import Sites, archive, archive_path, fill, write

WORDS = ("sync", "old", "new", "--bwlimit", "1Gbit/s")


@pytest.fixture
def sites(tmp_path):
    """A server on each side, and a stray."""
    sites = Sites(tmp_path)
    fill(sites.add("old", "nfs-1"), range(20))
    (tmp_path / "nfs-1" / "README").write_text("stray")
    sites.add("new", "nfs-8")
    sites.write()
    return sites


def rows(ran, table):
    """The rows of a table."""
    return [e["values"] for e in ran.events if e["type"] == "row" and e["table"] == table]


def test_a_dry_run_tells_its_plan_to_scripts(sites):
    """Pairs, their ways, what stays behind, and totals; nothing was to be done, so 0."""
    ran = sites.run("sync", "old", "new", "--dry-run")

    assert ran.code == 0
    ((plan,), (stray,)) = rows(ran, "plan"), rows(ran, "left_out")
    assert (plan["source"], plan["destination"], plan["objects"]) == ("nfs-1", "nfs-8", 20)
    assert (plan["way"], plan["files"]) == ("on this machine", 40)
    assert stray == {"reason": "stray", "entries": 1}
    (planned,) = [event for event in ran.events if event["type"] == "sync_planned"]
    assert planned["size_bytes"] == plan["size_bytes"] == ran.events[-1]["planned"]["bytes"]
    assert ran.counts == {"not_attempted": 20}
    assert "resume_command" not in ran.events[-1] or ran.events[-1]["resume_command"] == ""


def test_a_dry_run_prints_its_plan(sites):
    """On standard output, with a time that people can read."""
    ran = cachemig("sync", "old", "new", "--dry-run", cwd=sites.folder)

    first, second, left_out, way, lack = ran.stdout.splitlines()
    assert first.startswith("plan old -> new, by the inventory of 20")
    assert first.endswith(" UTC")
    assert "." not in first
    assert second.startswith("nfs-1 -> nfs-8: 20 objects")
    assert left_out == "left out: 1 stray"
    assert way == "nfs-1 -> nfs-8: the bytes go on this machine"
    assert lack.startswith("nfs-1 -> nfs-8: of these 20 objects 20 are to be sent, ")
    assert lack.endswith(" are free there")


def states(folder):
    """Names, times and sizes of all below a folder."""
    return {path: (path.lstat().st_mtime_ns, path.lstat().st_size) for path in folder.rglob("*")}


def test_a_dry_run_says_how_much_is_left(sites):
    """Of all that is planned, what is not there yet; and nothing there is touched."""
    old, new = sites.folder / "nfs-1", sites.folder / "nfs-8"
    assert sites.run("sync", "old", "new").code == 0
    fill(old, range(20, 23))
    (new / f"{archive_path(3)}.siginfo").unlink()
    for path in (archive_path(5), archive_path(6)):
        (old / path).touch()
    before = states(new)

    ran = sites.run("sync", "old", "new", "--dry-run")

    ((lack,),) = (rows(ran, "to_send"),)
    assert ran.code == 0
    assert (lack["planned"], lack["to_send"], lack["files"]) == (23, 4, 7)
    lacking = sum(p.stat().st_size for n in range(20, 23) for p in old.glob(f"{archive_path(n)}*"))
    assert lack["size_bytes"] == lacking + (old / f"{archive_path(3)}.siginfo").stat().st_size
    assert lack["free_bytes"] > 0
    assert states(new) == before


def test_a_dry_run_warns_of_a_server_that_is_too_small(sites, tmpfs):
    """Better now than in the middle of the night."""
    tmpfs(sites.folder / "nfs-8", "size=64k")
    fill(sites.folder / "nfs-1", range(100, 103), size_bytes=50_000)

    ran = sites.run("sync", "old", "new", "--dry-run")

    texts = [event["text"] for event in ran.events if event["type"] == "notice"]
    (warning,) = [text for text in texts if "too small" in text]
    assert ran.code == 0
    assert warning.startswith("nfs-8 is too small: ")
    assert warning.endswith("64 KiB free")


def test_a_dry_run_names_a_new_server_that_is_out_of_reach(sites):
    """The plan is printed, and what the others lack; exit 7, and no root is made."""
    sites.add("new", "nfs-9")
    sites.write()
    assert sites.run("shards", "init", "new").code == 0
    (sites.folder / "nfs-9").rmdir()

    ran = sites.run("sync", "old", "new", "--dry-run")

    assert (ran.code, ran.error["server"]) == (7, "nfs-9")
    assert {row["destination"] for row in rows(ran, "plan")} == {"nfs-8", "nfs-9"}
    assert {row["destination"] for row in rows(ran, "to_send")} == {"nfs-8"}
    assert not (sites.folder / "nfs-9").exists()
    assert not (sites.folder / "nfs-8" / ".cachemig").exists()


@pytest.mark.parametrize("option", ["--bwlimit", "--run-on"])
def test_an_empty_option_is_not_passed_over(sites, option):
    """A variable that is not set in a script would else mean full speed, or another way."""
    ran = sites.run("sync", "old", "new", option, "")

    assert (ran.code, ran.error["slug"]) == (2, "usage")
    assert "''" in ran.error["message"]


def test_a_damaged_archive_at_the_new_site_is_cleared_there(sites):
    """The same command would give 6 for ever; what is to be typed next leads to 0."""
    path = archive_path(7)
    write(sites.folder / "nfs-8" / path, archive(7, 3000)[:-40])

    ran = sites.run("sync", "old", "new")

    assert ran.code == 6
    (damaged,) = ran.objects("damaged")
    assert damaged["damaged_at"] == "destination"
    assert f"damaged {path} nfs-1 -> nfs-8, on nfs-8: " in ran.err.decode()
    before, again = ran.events[-1]["resume_command"].split(" && ")
    assert before.startswith("cachemig quarantine new --config ")
    assert again.startswith("cachemig sync old new ")
    assert sites.run("quarantine", "new", "--yes").code == 0
    assert sites.run("sync", "old", "new").code == 0


def test_a_damaged_archive_at_the_old_site_is_cleared_there(sites):
    """Builds make it anew; without its name in the way, the copy is whole."""
    path = archive_path(7)
    write(sites.folder / "nfs-1" / path, archive(7, 3000)[:-40])

    ran = sites.run("sync", "old", "new")

    assert ran.code == 6
    assert [event["damaged_at"] for event in ran.objects("damaged")] == ["source"]
    assert ran.events[-1]["resume_command"].startswith("cachemig quarantine old --config ")
    assert sites.run("quarantine", "old", "--yes").code == 0
    assert sites.run("sync", "old", "new").code == 0


@pytest.mark.parametrize(
    ("sides", "code", "typed"),
    [
        ([], ExitCode.OK, ""),
        ([], ExitCode.USAGE, ""),
        ([], ExitCode.PARTIAL, "cachemig sync old new --bwlimit 1Gbit/s"),
        (
            ["destination", "source", "source"],
            ExitCode.INTEGRITY,
            (
                "cachemig quarantine old && cachemig quarantine new && "
                "cachemig sync old new --bwlimit 1Gbit/s"
            ),
        ),
    ],
)
def test_what_to_type_depends_on_what_happened(sides, code, typed):
    """Clear first, then the same again; after success nothing."""
    onward = Onward(WORDS)
    onward.between("old", "new")
    for side in sides:
        onward.take(ObjectDone("p", "c", "s", Outcome.DAMAGED, 1, damaged_at=side))

    assert onward.command(code) == typed


@pytest.mark.parametrize("command", ["sync old new --dry-run", "verify presence old new"])
def test_a_server_that_the_map_does_not_know_is_named(sites, command):
    """It was added later, and would stay empty without a word."""
    assert sites.run("shards", "init", "new").code == 0
    sites.add("new", "nfs-9")
    sites.write()

    ran = sites.run(*command.split())

    (text,) = [e["text"] for e in ran.events if "shard map" in e.get("text", "")]
    assert text.startswith("nfs-9 is in cachemig.toml")
    assert "`cachemig shards rebalance new`" in text


def untouched(sites, *options):
    """Run a sync that must be refused, and see that it left nothing anywhere."""
    before = states(sites.folder)
    ran = sites.run("sync", "old", "new", *options)
    assert ran.code == 2
    assert states(sites.folder) == before
    return ran


def test_without_a_map_nothing_is_touched(sites):
    """No scan, no lock, no log: exit code 2 says so."""
    sites.map_file("new").unlink(missing_ok=True)
    sites.add("new", "nfs-9")
    sites.write()
    assert "shards init new" in untouched(sites).error["next_step"]


def test_without_a_way_nothing_is_touched(sites):
    """A folder of this machine is nowhere else."""
    assert "ssh://" in untouched(sites, "--run-on", "ssh://ops@hop.example.com").error["next_step"]
