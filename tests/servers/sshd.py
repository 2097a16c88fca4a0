"""A real sshd for tests. Without one on the machine, tests fail; they are never skipped."""

from collections.abc import Callable, Iterator

import pytest

from cachemig.demo.sshd import Sshd, start

NewSshd = Callable[[], Sshd]


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory, oldest_python: str) -> Iterator[Sshd]:
    """One server for all tests that leave it as it is; its ``python3`` is the oldest found."""
    server = start(tmp_path_factory.mktemp("sshd"), python=oldest_python)
    yield server
    server.stop()


@pytest.fixture
def new_sshd(tmp_path_factory: pytest.TempPathFactory, oldest_python: str) -> Iterator[NewSshd]:
    """Starts servers for a test that harms them, each with keys of its own."""
    servers: list[Sshd] = []

    def new() -> Sshd:
        servers.append(start(tmp_path_factory.mktemp("sshd"), python=oldest_python))
        return servers[-1]

    yield new
    for server in servers:
        server.stop()
