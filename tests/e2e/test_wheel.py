"""The wheel holds all that the program reads, so that it works where there is no checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel as it is built from this checkout, with the locked build backend."""
    folder = tmp_path_factory.mktemp("wheel")
    argv = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(argv, cwd=REPOSITORY, check=True, timeout=120, capture_output=True)
    return next(folder.glob("*.whl"))


def test_every_file_of_the_package_is_in_the_wheel(wheel):
    """SQL, schemas and the agent's sources are read at run time."""
    files = [p for p in (REPOSITORY / "cachemig").rglob("*") if p.is_file()]
    wanted = {str(p.relative_to(REPOSITORY)) for p in files if "__pycache__" not in p.parts}

    assert wanted <= set(zipfile.ZipFile(wheel).namelist())


def test_the_playbooks_are_found_in_an_unpacked_wheel(wheel, tmp_path):
    """They lie beside the package in a checkout, and inside it once installed."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    show = "import cachemig.playbooks as p; print(*p.playbook_paths(), sep='\\n')"

    ran = subprocess.run(
        [sys.executable, "-P", "-c", show],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        check=True,
        timeout=60,
        capture_output=True,
        text=True,
    )

    names = {Path(line).name for line in ran.stdout.splitlines() if str(tmp_path) in line}
    assert names == {path.name for path in (REPOSITORY / "playbooks").glob("*.toml")}
