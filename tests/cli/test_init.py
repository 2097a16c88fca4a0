"""`cachemig init` gives a start and destroys nothing."""

from cachemig.config import load
from tests.cli.running import cachemig


def test_it_writes_a_valid_commented_file(tmp_path):
    """The file can be read as it is."""
    run = cachemig("init", cwd=tmp_path)

    assert run.returncode == 0
    assert "cachemig.toml" in run.stderr
    assert set(load(tmp_path / "cachemig.toml").sites) == {"old", "new"}


def test_it_writes_where_it_is_told(tmp_path):
    """As argument, or by --config as every command has it."""
    assert cachemig("init", "a.toml", cwd=tmp_path).returncode == 0
    assert cachemig("init", "--config", "b.toml", cwd=tmp_path).returncode == 0

    assert {path.name for path in tmp_path.iterdir()} == {"a.toml", "b.toml"}


def test_it_never_overwrites(tmp_path):
    """What is there was written by somebody."""
    (tmp_path / "cachemig.toml").write_text("mine")

    run = cachemig("init", cwd=tmp_path)

    assert run.returncode == 2
    assert (tmp_path / "cachemig.toml").read_text() == "mine"
    assert "there is a configuration already" in run.stderr


def test_it_says_why_it_can_not_write(tmp_path):
    """A missing folder is not made by guessing."""
    run = cachemig("init", "no/such.toml", cwd=tmp_path)

    assert run.returncode == 2
    assert "No such file or directory" in run.stderr


def test_the_written_file_is_for_its_owner_to_change(tmp_path):
    """A file that everybody can write would be refused when it is read."""
    cachemig("init", cwd=tmp_path, umask=0)

    assert load(tmp_path / "cachemig.toml").sites
