"""One contract, every store: local, by both ssh clients, and by the oldest Python."""

import sys
from collections.abc import Iterator

import pytest

from cachemig.config import SshSettings
from cachemig.core.urls import ServerUrl
from cachemig.demo.sshd import ADDRESS, Sshd
from cachemig.stores.pipes import agent_argv
from tests.stores.batch_contract import BatchContract
from tests.stores.contract import StoreContract
from tests.stores.ways import Ground, Place, Way

WAYS = ["local", "local-oldest-python", "openssh", "paramiko"]


@pytest.fixture(scope="module", params=WAYS)
def way(request: pytest.FixtureRequest, sshd: Sshd, oldest_python: str) -> Way:
    """Each way in turn."""
    name = request.param
    if name == "local":
        return Way.local(name, sys.executable)
    if name == "local-oldest-python":
        return Way.local(name, oldest_python)
    url = ServerUrl("ssh", "/srv/sstate", ADDRESS, sshd.user, sshd.port)
    settings = SshSettings(
        client=name, identity_file=sshd.identity_file, known_hosts_file=sshd.known_hosts_file
    )
    return Way.remote(name, agent_argv(url, settings))


@pytest.fixture(scope="module")
def place(way: Way, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Open connections that most tests share."""
    with Place.at(way, tmp_path_factory.mktemp("place")) as made:
        yield made


@pytest.fixture
def ground(place: Place) -> Ground:
    """A folder of one test's own."""
    return place.ground()


class TestStore(StoreContract):
    """The questions."""


class TestBatches(BatchContract):
    """The moves."""
