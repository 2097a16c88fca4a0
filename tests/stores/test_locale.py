"""A name means the same bytes on every server, whatever language its account has set."""

import shlex
import subprocess
import sys

import pytest

from cachemig.stores.open import here_argv, there_argv
from cachemig.stores.pipes import REMOTE_COMMAND

FLAGS = {
    "here": list(here_argv())[1:-1],
    "there": list(there_argv())[1:-1],
    "by-ssh": shlex.split(REMOTE_COMMAND)[2:-1],
}


@pytest.mark.parametrize("flags", FLAGS.values(), ids=FLAGS)
def test_names_are_utf8_under_every_locale(flags: list[str], oldest_python: str):
    """Under a Latin-1 locale, Python would take the bytes of a name for other letters."""
    show = "import sys; print(sys.flags.utf8_mode, sys.getfilesystemencoding())"
    for python in (sys.executable, oldest_python):
        ran = subprocess.run(
            [python, *flags, show], check=True, capture_output=True, text=True, timeout=60
        )
        assert ran.stdout.split() == ["1", "utf-8"]
