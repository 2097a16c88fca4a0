"""What the playbooks tell people to type works, in their order, on the demo's sites."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest

from cachemig.core.shard_text import parse_shard_maps
from cachemig.demo import site
from cachemig.demo.cache import GeneratedCache
from cachemig.errors import ExitCode, FormatError
from cachemig.playbooks import playbook_paths, read_playbook
from tests.e2e import oracle

SHARE = 0.1
PLAYBOOKS = pytest.mark.parametrize("path", playbook_paths(), ids=lambda path: path.stem)


def test_the_playbooks_of_the_project_are_found():
    """A folder that moved would make all tests below vanish, and pass."""
    assert {path.stem for path in playbook_paths()} == {"evacuate-region", "prewarm"}


@PLAYBOOKS
def test_steps_are_told_apart_and_their_placeholders_are_known(path):
    """A step is named by its id; a brace without a meaning would be typed as it is."""
    playbook = read_playbook(path)
    words = [word for step in playbook.step for word in (*step.command, step.look_at)]
    used = {name for word in words for _, name, *_ in Formatter().parse(word) if name is not None}

    assert len({step.id for step in playbook.step}) == len(playbook.step)
    assert used == set(playbook.placeholders)
    assert {code for step in playbook.step for code in step.exit_codes} <= set(ExitCode)


@pytest.mark.parametrize(("name", "times"), [("evacuate-region", 1), ("prewarm", 2)])
def test_every_command_works_in_its_order(name, times, tmp_path):
    """From two sites as they are found, damage included, to the last proof; every night anew.

    In the end, each object of the old site lies where the map wants it, and nothing else.
    """
    site.write_config(tmp_path, str)
    site.fill(tmp_path, objects_share=SHARE)
    usable = list(made_for_builds(tmp_path))
    path = next(path for path in playbook_paths() if path.stem == name)

    for step in read_playbook(path).step * times:
        program, *arguments = step.argv({"old": "old", "new": "new"})
        ran = subprocess.run(
            [sys.executable, "-m", program, *arguments],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

        assert ran.returncode in step.exit_codes, f"{step.id}: {ran.stdout}\n{ran.stderr}"

    owners = parse_shard_maps((tmp_path / ".cachemig" / "shards" / "new.toml").read_text())
    wanted: dict[str, dict[str, str]] = {name: {} for name in site.NEW_SERVERS}
    for cache, below, digest in usable:
        server = owners[cache.name].owner(below.split("/")[-3])
        wanted[server][f"{cache.folder}/{below}"] = digest
    assert all(wanted.values())
    assert {name: oracle.digests(tmp_path / "new" / name) for name in wanted} == wanted


def made_for_builds(folder: Path) -> Iterator[tuple[site.DemoCache, str, str]]:
    """Each file that a build could use at the old site: cache, path below it, SHA-256.

    That is what the generator says it put in its right place, and what a link leads to.
    """
    for cache in site.CACHES:
        made = GeneratedCache(cache.style, int(cache.objects * SHARE), cache.seed)
        paths = {file.path for file in made.files()}
        for server in site.OLD_SERVERS:
            root = folder / "old" / server / cache.folder
            for file in root.rglob("*"):
                path = str(file.relative_to(root))
                if file.is_file() and (path in paths or file.is_symlink()):
                    yield cache, path, hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize("text", ["", "format = 1\nsteps = []", "format = 2", "[[step]\n"])
def test_a_playbook_that_is_not_one_is_refused(text, tmp_path):
    """By name, as a file that the program can not read."""
    path = tmp_path / "broken.toml"
    path.write_text(text)

    with pytest.raises(FormatError) as refused:
        read_playbook(path)

    assert refused.value.path == str(path)
