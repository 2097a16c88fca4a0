"""The promises that the project's own files make."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import typer

from cachemig.cli.app import app
from cachemig.errors import ExitCode

REPOSITORY = Path(__file__).parents[1]
LOCK = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8")
FOLDERS = [REPOSITORY / name for name in ("docs", "playbooks", "tests")]
PAGES = sorted([*REPOSITORY.glob("*.md"), *(p for folder in FOLDERS for p in folder.rglob("*.md"))])
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))


def requirement_names(requirements):
    """The bare package names of requirement strings."""
    return {re.split(r"[<>=;\[ ]", text)[0].lower() for text in requirements}


def test_the_lock_names_no_host():
    """Packages come from wherever the one who installs gets them; hashes say which they are."""
    assert "://" not in LOCK
    assert "index-url" not in LOCK


def test_the_lock_holds_every_dependency_with_hashes():
    """Of the program, its extras and its build; what is not locked would change under us."""
    entries = dict(re.findall(r"^([a-z0-9._-]+)==\S+ (.*(?:\n {4}.*)*)", LOCK, re.MULTILINE))
    wanted = list(PROJECT["project"]["dependencies"])
    wanted += [r for extra in PROJECT["project"]["optional-dependencies"].values() for r in extra]
    wanted += PROJECT["build-system"]["requires"]

    assert requirement_names(wanted) <= set(entries)
    assert all("--hash=sha256:" in entry for entry in entries.values())


def test_make_alone_lists_every_target():
    """Nobody should have to read the Makefile to know what can be typed."""
    ran = subprocess.run(
        ["make", "--no-print-directory"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    phony = re.search(r"^\.PHONY: (.*)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)

    listed = {line.split()[1] for line in ran.stdout.splitlines()}

    assert phony
    assert listed == set(phony[1].split())


def test_setup_with_a_wrong_word_tells_the_right_ones():
    """It changes nothing."""
    ran = subprocess.run(
        [REPOSITORY / ".ci" / "setup", "all"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert ran.returncode == 1
    assert "python|packages" in ran.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(REPOSITORY)))
def test_links_between_pages_lead_somewhere(page):
    """A page that moved takes its links along."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = {target for target in re.findall(r"\]\(([^)#]+)", text) if "://" not in target}

    assert not [target for target in sorted(targets) if not (page.parent / target).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(REPOSITORY)))
def test_commands_on_pages_are_commands_of_the_program(page):
    """What stands in a block of code can be typed: each word up to the first argument exists."""
    blocks = re.findall(r"```\w*\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line.strip().removeprefix("$ ") for block in blocks for line in block.splitlines()]
    for words in [line.split()[1:] for line in lines if re.match(r"cachemig [a-z]", line)]:
        command = typer.main.get_command(app)
        while commands := getattr(command, "commands", None):
            assert words[0] in commands, words
            command = commands[words.pop(0)]


def test_the_readme_lists_every_exit_code():
    """Scripts are written by that table."""
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([0-9, ]+) \|", readme, re.MULTILINE)

    assert {int(code) for row in rows for code in row.split(",")} == set(ExitCode)
