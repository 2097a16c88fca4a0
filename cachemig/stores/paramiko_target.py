"""What ~/.ssh/config and the command line say of a login with paramiko."""

import getpass
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import paramiko

from cachemig.stores.diagnosis import PipeTrouble, Trouble
from cachemig.stores.known_hosts import DEFAULT_PORT

_USER_FILES = (Path("~/.ssh/known_hosts"), Path("~/.ssh/known_hosts2"))
_SYSTEM_FILES = (Path("/etc/ssh/ssh_known_hosts"), Path("/etc/ssh/ssh_known_hosts2"))


class LoginRefusedError(Exception):
    """The login was given up; carries what to tell."""

    def __init__(self, trouble: PipeTrouble) -> None:
        super().__init__(trouble.cause)
        self.trouble = trouble


class Target(NamedTuple):
    """Where to log in, and with what; ~/.ssh/config is already worked in.

    Attributes:
        host: name or address to dial.
        key_name: the name that known_hosts files know it by.
        identities: private keys to try, in order.
        only_identities: the ssh-agent's other keys are not tried.
        known_hosts: files to look its host key up in; the first is for new keys.
    """

    host: str
    port: int
    user: str
    key_name: str
    identities: tuple[Path, ...]
    only_identities: bool
    known_hosts: tuple[Path, ...]

    @property
    def printed(self) -> str:
        """Name it as known_hosts files do."""
        return self.key_name if self.port == DEFAULT_PORT else f"[{self.key_name}]:{self.port}"


class Wishes(NamedTuple):
    """What the command line asks for; empty fields are left to ~/.ssh/config."""

    host: str
    port: int | None = None
    user: str | None = None
    identity: Path | None = None
    known_hosts: Path | None = None


def resolve(wishes: Wishes, config_file: Path) -> Target:
    """Fill in from an ssh_config(5) file what the command line leaves open.

    Raises:
        LoginRefusedError: the file is broken, or asks for a jump host.
    """
    found = _lookup(config_file, wishes.host)
    for option in ("proxyjump", "proxycommand"):
        if (found.get(option) or "none") != "none":
            cause = f"{config_file} sets {option} for {wishes.host}; the paramiko client has no "
            raise refused(
                Trouble.BAD_SETTINGS, wishes.host, cause + "jump hosts: use --ssh-client openssh"
            )
    host = str(found.get("hostname", wishes.host))
    if wishes.known_hosts:
        files: tuple[Path, ...] = (wishes.known_hosts,)
    else:
        files = _files(found, "userknownhostsfile", _USER_FILES)
        files += _files(found, "globalknownhostsfile", _SYSTEM_FILES)
    identities = [Path(str(path)).expanduser() for path in found.get("identityfile", ())]
    return Target(
        host=host,
        port=wishes.port or int(found.get("port", DEFAULT_PORT)),
        user=wishes.user or str(found.get("user", "")) or getpass.getuser(),
        key_name=str(found.get("hostkeyalias", host)),
        identities=(wishes.identity,) if wishes.identity else tuple(identities),
        only_identities=bool(wishes.identity) or found.get("identitiesonly") == "yes",
        known_hosts=files,
    )


def _lookup(config_file: Path, host: str) -> paramiko.SSHConfigDict:
    if not config_file.exists():
        return paramiko.SSHConfigDict()
    try:
        return paramiko.SSHConfig.from_path(str(config_file)).lookup(host)
    except (paramiko.ConfigParseError, paramiko.CouldNotCanonicalize, ImportError) as problem:
        raise refused(Trouble.BAD_SETTINGS, host, f"{config_file}: {problem}") from None


def _files(
    found: paramiko.SSHConfigDict, option: str, defaults: Sequence[Path]
) -> tuple[Path, ...]:
    told = str(found.get(option, "")).split()
    return tuple(Path(file.strip('"')).expanduser() for file in told or map(str, defaults))


def refused(trouble: Trouble, host: str, cause: str) -> LoginRefusedError:
    """Make the refusal for a host, with its cause."""
    return LoginRefusedError(PipeTrouble(trouble, host=host, cause=cause))
