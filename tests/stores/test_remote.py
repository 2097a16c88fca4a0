"""What a server is told of us."""

import os
import subprocess
import sys

from cachemig.stores.remote import who_runs_this
from tests.nobody import needs_root

NUMBER = 54_321
AS_A_NUMBER = (
    "import os; from cachemig.stores.remote import who_runs_this;"
    f" os.seteuid({NUMBER}); print(who_runs_this(), os.getpid())"
)


def test_a_lock_names_the_account_as_the_system_does():
    """Also where no login has set USER, as under cron and systemd."""
    ran = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True, timeout=60)

    told = who_runs_this()

    assert told == f"{ran.stdout.strip()}@{os.uname().nodename} pid {os.getpid()}"


def test_an_account_without_a_name_is_told_by_its_number():
    """As in a container that was started for some user of its host."""
    needs_root("become somebody else")
    ran = subprocess.run(
        [sys.executable, "-c", AS_A_NUMBER], capture_output=True, text=True, check=True, timeout=60
    )

    told, _, pid = ran.stdout.strip().rpartition(" ")

    assert told == f"{NUMBER}@{os.uname().nodename} pid {pid}"
