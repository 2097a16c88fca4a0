"""How much a person reads of a real run."""

import json
import subprocess
import sys
from pathlib import Path

from tests.e2e.sites import Sites, fill

LIMIT_S = 60
OBJECTS = 30


def written(sites: Sites, *argv: str) -> list[str]:
    """The lines on standard error."""
    ran = subprocess.run(
        [sys.executable, "-m", "cachemig", *argv],
        cwd=sites.folder,
        check=False,
        text=True,
        timeout=LIMIT_S,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    return ran.stderr.splitlines()


def test_each_step_is_told_who_wants_more(tmp_path: Path) -> None:
    """What each pair is to bring and what came of it; of 10^6 fine objects none has a line."""
    sites = Sites(tmp_path)
    paths = fill(sites.add("old", "nfs-1"), range(OBJECTS))
    sites.add("new", "nfs-9")
    sites.write()

    sent = written(sites, "sync", "old", "new", "--verbose")
    again = written(sites, "sync", "old", "new", "-v", "--full")
    plain = written(sites, "sync", "old", "new")

    assert f"nfs-1 -> nfs-9: {OBJECTS} objects to bring" in sent
    assert counted(sent, "published") == counted(again, "present") == OBJECTS
    assert not counted(plain, "present")
    assert not any(json.dumps(path)[1:-1] in line for path in paths for line in sent + again)


def counted(lines: list[str], outcome: str) -> int:
    """How many objects of an outcome were told, pair by pair."""
    steps = (line.removeprefix("nfs-1 -> nfs-9: ") for line in lines if " -> " in line)
    return sum(int(step.split()[0]) for step in steps if step.split()[1] == outcome)
