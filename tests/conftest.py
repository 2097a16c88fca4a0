"""What every test may ask for."""

import hypothesis
import pytest

from tests.pythons import oldest_python_found, version_of
from tests.servers.disks import faultfs, faulty_disk, tmpfs
from tests.servers.proxy import new_proxy
from tests.servers.sshd import new_sshd, sshd

__all__ = ["faultfs", "faulty_disk", "new_proxy", "new_sshd", "oldest_python", "sshd", "tmpfs"]

# A busy machine is slow now and then; what hangs is ended by pytest-timeout.
hypothesis.settings.register_profile("any-machine", deadline=None)
hypothesis.settings.load_profile("any-machine")


def pytest_report_header() -> str:
    """Say in the log which Python stands for the servers'."""
    path = oldest_python_found()
    return "agent tested on: Python {}.{} ({})".format(*version_of(path), path)


@pytest.fixture(scope="session")
def oldest_python() -> str:
    """Path of the oldest Python of at least 3.9 here: the one a server may have."""
    return oldest_python_found()
