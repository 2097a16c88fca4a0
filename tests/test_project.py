"""The promises that the project's own files make."""

import re
import subprocess
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
LOCK = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8")
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
