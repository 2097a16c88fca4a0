"""The paramiko client reads ~/.ssh/config, and refuses what it can not do."""

from pathlib import Path

import pytest

from cachemig.stores.diagnosis import Trouble
from cachemig.stores.paramiko_target import LoginRefusedError, Wishes, resolve

CONFIG = """
Host nfs-1
  HostName nfs-1.example.com
  Port 2222
  User ops
  IdentityFile /keys/one
  IdentityFile /keys/two
  IdentitiesOnly yes
  UserKnownHostsFile /pins/a /pins/b
  HostKeyAlias old-name
Host far
  ProxyJump gate
Host odd
  ProxyCommand none
Host *
  User everyone
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config file of an operator."""
    file = tmp_path / "config"
    file.write_text(CONFIG)
    return file


def test_an_alias_is_followed(config: Path) -> None:
    """Address, port, user, keys and the files of known keys come from the config."""
    target = resolve(Wishes("nfs-1"), config)

    assert (target.host, target.port, target.user) == ("nfs-1.example.com", 2222, "ops")
    assert target.identities == (Path("/keys/one"), Path("/keys/two"))
    assert target.only_identities
    assert target.known_hosts[:2] == (Path("/pins/a"), Path("/pins/b"))
    assert target.printed == "[old-name]:2222"


def test_what_cachemig_toml_says_comes_first(config: Path) -> None:
    """Its pins are then the only ones that count."""
    wishes = Wishes("nfs-1", 22, "root", Path("/keys/mine"), Path("/pins/mine"))
    target = resolve(wishes, config)

    assert (target.port, target.user) == (22, "root")
    assert target.identities == (Path("/keys/mine"),)
    assert target.known_hosts == (Path("/pins/mine"),)


def test_no_config_is_no_trouble(tmp_path: Path) -> None:
    """The defaults are those of ssh."""
    target = resolve(Wishes("nfs-9", user="ops"), tmp_path / "missing")

    assert (target.host, target.port) == ("nfs-9", 22)
    assert not target.only_identities
    assert Path("~/.ssh/known_hosts").expanduser() in target.known_hosts
    assert Path("/etc/ssh/ssh_known_hosts") in target.known_hosts


def test_a_jump_host_is_refused(config: Path) -> None:
    """The operator hears which client can do it."""
    with pytest.raises(LoginRefusedError, match="--ssh-client openssh") as refusal:
        resolve(Wishes("far"), config)
    assert refusal.value.trouble.trouble is Trouble.BAD_SETTINGS
    assert resolve(Wishes("odd"), config).user == "everyone"


def test_a_broken_config_is_told(tmp_path: Path) -> None:
    """By the file's name."""
    file = tmp_path / "config"
    file.write_text("nonsense\n")

    with pytest.raises(LoginRefusedError, match=str(file)):
        resolve(Wishes("nfs-1"), file)
