"""A state directory that an account may read, but not write: and one that it may not even read."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.battle import wait_until
from tests.e2e.sites import Ran, Sites, fill, temps
from tests.nobody import AS_NOBODY, needs_root, open_folder, packages_for_nobody, python_for_nobody

OBJECTS = 4


@pytest.fixture(scope="module")
def kept() -> Iterator[Sites]:
    """Two sites, moved and scanned by their operator; others may look at his state."""
    needs_root("it works for an operator, and then for another account")
    with open_folder() as folder:
        sites = Sites(folder)
        fill(sites.add("old", "nfs-1"), range(OBJECTS))
        sites.add("new", "nfs-9")
        sites.write()
        for command in (("sync", "old", "new"), ("scan", "new")):
            assert sites.run(*command).code == 0
        yield sites


@pytest.fixture(scope="module")
def packages() -> Iterator[str]:
    """Where another account finds our packages."""
    with open_folder() as folder:
        yield packages_for_nobody(folder)


def run_as_nobody(kept: Sites, packages: str, *argv: str) -> Ran:
    """Run one command as another account, by a Python that it can start, with our packages."""
    sites = replace(kept, python=python_for_nobody())
    return sites.run(*argv, before=AS_NOBODY, env={"PYTHONPATH": packages})


@pytest.mark.parametrize(
    "question",
    [
        ("inventory", "show", "old"),
        ("inventory", "show", "old", "--strays"),
        ("inventory", "diff", "old", "new"),
        ("shards", "show", "new"),
    ],
)
def test_whoever_may_read_the_state_may_ask(
    kept: Sites, packages: str, question: tuple[str, ...]
) -> None:
    """Nothing is written for it: temporary files go elsewhere."""
    before = sorted(kept.state.rglob("*"))

    ran = run_as_nobody(kept, packages, *question)

    assert ran.code == 0, ran.err.decode()
    assert sorted(kept.state.rglob("*")) == before


@pytest.mark.parametrize(
    "command",
    [
        ("scan", "old"),
        ("sync", "old", "new", "--dry-run", "--saved"),
        ("verify", "presence", "old", "new", "--saved"),
    ],
)
def test_what_has_to_keep_something_is_refused_with_its_place(
    kept: Sites, packages: str, command: tuple[str, ...]
) -> None:
    """Exit code 2: nothing was touched, and it is no fault of ours."""
    ran = run_as_nobody(kept, packages, *command)

    assert (ran.code, ran.error["cause"]) == (2, "Permission denied"), ran.err.decode()
    assert ran.error["path"].startswith(str(kept.state))
    assert "state_dir" in ran.error["next_step"]


@pytest.mark.parametrize("closed", ["inventories", "inventories/old.parquet"])
@pytest.mark.parametrize("question", [("inventory", "show", "old"), ("scan", "old")])
def test_what_may_not_be_read_is_not_damaged(
    kept: Sites, packages: str, closed: str, question: tuple[str, ...]
) -> None:
    """To move it away would be wrong advice."""
    path = kept.state / closed
    mode = path.stat().st_mode
    path.chmod(0)
    if question[0] == "scan":  # it gets past its run log
        (kept.state / "runs").chmod(0o777)
    try:
        ran = run_as_nobody(kept, packages, *question)
    finally:
        path.chmod(mode)
        (kept.state / "runs").chmod(0o755)

    assert (ran.code, ran.error["slug"]) == (2, "usage"), ran.err.decode()
    assert ran.error["cause"].endswith("Permission denied")
    assert ran.error["path"] == str(kept.state / "inventories" / "old.parquet")


@pytest.mark.parametrize("removed", ["", "receipts"])
def test_a_state_directory_that_is_removed_during_a_sync_is_missed(
    tmp_path: Path, removed: str
) -> None:
    """Older receipts, shard maps and the log are gone with it: that is no success."""
    sites = Sites(tmp_path, connections=1)
    fill(sites.add("old", "nfs-1"), range(OBJECTS), 500_000)
    new = sites.add("new", "nfs-9")
    sites.write()
    running = sites.start("sync", "old", "new", "--bwlimit", "8Mbit/s")
    wait_until(lambda: temps(new), "a file on its way")

    shutil.rmtree(sites.state / removed)
    ran = running.end()

    assert (ran.code, ran.error["message"]) == (1, "the receipts of this run were taken away")
    assert ran.error["path"] == str(sites.state / "receipts")
    assert sites.sync().code == 0
