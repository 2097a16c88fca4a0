"""What the program offers, and how little it loads to say so."""

import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer

from cachemig import __version__
from cachemig.cli.app import app
from tests.cli.running import LIMIT_S, cachemig

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
HEAVY = ("boto3", "botocore", "duckdb", "fabric", "paramiko", "rich", "tqdm")
SHARED_OPTIONS = {"--config", "--json", "--quiet", "--verbose"}


def commands(group=None, words=()):
    """Every command as (its words, the command)."""
    group = group or typer.main.get_command(app)
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from commands(command, (*words, name))
        else:
            yield (*words, name), command


def loaded_by(*argv):
    """Run the program to its end, and name the modules it loaded."""
    script = (
        "import sys\n"
        "from cachemig.cli.app import main\n"
        f"main({list(argv)!r})\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True, timeout=LIMIT_S
    )
    return set(run.stderr.split())


@pytest.mark.parametrize("argv", [["--help"], ["scan", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(argv):
    """Heavy modules are loaded inside commands, when they are needed."""
    modules = loaded_by(*argv)

    assert "typer" in modules
    assert not modules & set(HEAVY)


@pytest.mark.parametrize(("words", "command"), list(commands()), ids=str)
def test_every_command_takes_the_shared_options_and_explains_itself(words, command):
    """Whoever knows one command knows the options of all; each parameter has a help text."""
    options = {name for parameter in command.params for name in parameter.opts}

    assert options >= SHARED_OPTIONS, words
    assert command.help
    for parameter in command.params:
        if parameter.name != "help":
            assert parameter.help, f"{' '.join(words)} {parameter.name}"


def test_the_program_without_arguments_helps(tmp_path):
    """It says what there is, and does nothing."""
    run = cachemig(cwd=tmp_path)

    assert run.returncode == 0
    assert run.stdout == cachemig("--help", cwd=tmp_path).stdout
    assert "scan" in run.stdout


def test_the_version_is_told(tmp_path):
    """As people and bug reports need it."""
    assert cachemig("--version", cwd=tmp_path).stdout == f"cachemig {__version__}\n"


def test_an_unknown_command_is_answered_with_the_way_on(tmp_path):
    """A typing error is no traceback."""
    run = cachemig("shards", "shwo", "a", cwd=tmp_path)

    assert run.returncode == 2
    assert "No such command 'shwo'" in run.stderr
    assert "see `cachemig shards --help`" in run.stderr


def test_ctrl_c_before_the_program_is_loaded_just_ends_it(tmp_path):
    """Its imports take some tenths of a second; nobody wants to read where they stopped."""
    module = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"
    (tmp_path / "typer.py").write_text(module)

    ran = cachemig("--help", cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)})

    assert (ran.returncode, ran.stdout, ran.stderr) == (-signal.SIGINT, "", "")


def test_the_command_is_the_module():
    """What holds for one way to start the program holds for the other."""
    scripts = tomllib.loads(PYPROJECT.read_text())["project"]["scripts"]

    assert scripts == {"cachemig": "cachemig.__main__:start"}


def test_a_demo_in_a_folder_that_is_gone_is_refused(tmp_path):
    """It has no place to begin from."""
    place = tmp_path / "gone"
    place.mkdir()
    script = f'rmdir "{place}"; exec "{sys.executable}" -P -m cachemig demo'

    ran = subprocess.run(
        ["sh", "-c", script], cwd=place, check=False, capture_output=True, text=True, timeout=60
    )

    assert ran.returncode == 2
    assert "cachemig-demo" in ran.stderr
    assert "name a folder" in ran.stderr


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        (["--config", "x.toml", "scan", "old"], "write it after the command"),
        (["verify", "old", "new"], "`cachemig verify presence OLD NEW`"),
        (["sync", "a", "b", "--via-here", "--run-on", "ssh://h"], "leave one of them out"),
        (["sync", "a", "b", "--run-on", "hop"], "next: write it like ssh://user@host:22"),
    ],
)
def test_a_slip_on_the_command_line_is_answered_with_the_right_form(argv, hint, tmp_path):
    """What people type first is not always what the program takes."""
    servers = "".join(f'[[site.{n}.server]]\nname = "s"\nurl = "/srv/{n}"\n' for n in "ab")
    (tmp_path / "cachemig.toml").write_text(servers)

    run = cachemig(*argv, cwd=tmp_path)

    assert run.returncode == 2
    assert hint in run.stderr
