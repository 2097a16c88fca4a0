"""Archives that a real bitbake wrote are whole, on the oldest Python that a server may have."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHECK = """
import os, sys
from cachemig.agent import archive, deep
for path in sys.stdin.read().splitlines():
    fd = os.open(path, os.O_RDONLY)
    size = os.fstat(fd).st_size
    print(archive.check_file(fd, size, path) or deep.check_file(fd, size, path) or "whole")
    os.close(fd)
"""


@pytest.fixture(scope="module")
def real_archives(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The archives of the sample cache, unpacked."""
    folder = tmp_path_factory.mktemp("cache")
    packed = ROOT / "tests" / "data" / "rig-all-subset.tar.zst"
    subprocess.run(["tar", "--zstd", "-xf", packed, "-C", folder], check=True, timeout=60)
    archives = sorted(folder.rglob("sstate:*.tar.zst"))
    assert len(archives) > 20
    return archives


def verdicts(python: str, archives: list[Path]) -> list[str]:
    """Check archives with one Python, as the agent does."""
    ran = subprocess.run(
        [python, "-c", CHECK],
        input="\n".join(map(str, archives)),
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        timeout=120,
    )
    return ran.stdout.splitlines()


def test_real_archives_are_whole(oldest_python: str, real_archives: list[Path]) -> None:
    """Both checks pass them, those of tasks without any files too."""
    assert any(path.stat().st_size < 100 for path in real_archives), "no empty task among them"

    assert verdicts(oldest_python, real_archives) == ["whole"] * len(real_archives)


def test_real_archives_that_were_cut_are_damaged(
    oldest_python: str, real_archives: list[Path]
) -> None:
    """Half of an archive is never whole."""
    for path in real_archives:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    assert "whole" not in verdicts(oldest_python, real_archives)
