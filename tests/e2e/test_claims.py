"""No run says that all is there when it did not compare all: configurations that changed."""

import shutil
from pathlib import Path

import pytest

from tests.e2e.sites import Ran, Sites, contents, fill

OBJECTS = 6


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    """A cache that was scanned at the old site; nothing at the new one."""
    sites = Sites(tmp_path, caches={"one": "v1"})
    fill(sites.add("old", "nfs-1") / "v1", range(OBJECTS))
    sites.add("new", "nfs-9")
    sites.write()
    assert sites.run("scan", "old").code == 0
    return sites


def notices(ran: Ran) -> str:
    """All remarks of a run."""
    return "\n".join(event["text"] for event in ran.events if event["type"] == "notice")


def refused(ran: Ran, *, slug: str, code: int, step: str) -> None:
    """The run ended with this error, which says what to do next, and made no claim."""
    assert "has everything" not in notices(ran)
    assert (ran.code, ran.error["slug"]) == (code, slug), ran.err.decode()
    assert step in ran.error["next_step"]


QUESTIONS = [("sync", "old", "new", "--saved"), ("verify", "presence", "old", "new", "--saved")]


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("caches", [{"uno": "v1"}, {"one": "v9"}, {"one": "v1", "two": "v2"}])
def test_an_inventory_of_other_caches_is_not_gone_by(
    sites: Sites, question: tuple[str, ...], caches: dict[str, str]
) -> None:
    """A cache that got another name or folder, or was added, was never looked for."""
    sites.caches = caches
    sites.write()

    refused(sites.run(*question), slug="file-format", code=2, step="cachemig scan old")


@pytest.mark.parametrize("question", QUESTIONS)
def test_an_inventory_without_a_server_is_not_gone_by(
    sites: Sites, question: tuple[str, ...]
) -> None:
    """What lies on the server that was added later is unknown."""
    fill(sites.add("old", "nfs-2") / "v1", range(10, 15))
    sites.write()

    refused(sites.run(*question), slug="file-format", code=2, step="cachemig scan old")


@pytest.mark.parametrize("question", [*QUESTIONS, ("inventory", "show", "old"), ("scan", "old")])
def test_the_inventory_of_another_site_is_refused(sites: Sites, question: tuple[str, ...]) -> None:
    """A file that was copied over another says which site it is about."""
    assert sites.run("scan", "new").code == 0
    inventories = sites.state / "inventories"
    shutil.copy(inventories / "new.parquet", inventories / "old.parquet")

    refused(sites.run(*question), slug="file-format", code=2, step="cachemig scan old")


@pytest.mark.parametrize("question", [("sync", "old", "new"), ("verify", "presence", "old", "new")])
def test_a_cache_that_no_old_server_has_is_refused(sites: Sites, question: tuple[str, ...]) -> None:
    """Its path is misspelt, or it is said once that the site has none of it."""
    fill(sites.servers["old"][0].root / "v2", range(10, 15))
    sites.caches["two"] = "v2-typo"
    sites.write()

    scanned = sites.run("scan", "old")
    refused(sites.run(*question), slug="scan", code=3, step="--allow-empty")
    refused(sites.run(*question, "--saved"), slug="scan", code=3, step="--allow-empty")

    (problem,) = [event for event in scanned.events if event["type"] == "server_problem"]
    assert "two" in problem["what"]
    assert not contents(sites.servers["new"][0].root)


def test_a_cache_that_an_old_site_has_not_is_said_once(sites: Sites) -> None:
    """Sites may differ in their caches; what is compared of such a one is still nothing."""
    sites.caches["two"] = "v2"
    sites.write()
    assert sites.run("scan", "old", "--allow-empty").code == 0

    assert sites.run("sync", "old", "new").counts == {"published": OBJECTS}
    ran = sites.run("verify", "presence", "old", "new")

    refused(ran, slug="gate-closed", code=5, step="two")


def test_a_new_site_need_not_have_a_folder_for_each_cache(sites: Sites) -> None:
    """A sync makes it; until then all objects are missing."""
    assert sites.run("sync", "old", "new").code == 0
    fill(sites.servers["old"][0].root / "v2", range(10, 15))
    sites.caches["two"] = "v2"
    sites.write()

    before = sites.run("verify", "presence", "old", "new")
    assert sites.sync().counts == {"published": 5, "present": OBJECTS}
    after = sites.run("verify", "presence", "old", "new")

    assert (before.code, after.code) == (5, 0)
    assert "has everything" in notices(after)
