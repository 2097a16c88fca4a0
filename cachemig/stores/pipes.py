"""Which child process leads to a server's agent: ssh, our paramiko pipe, or a local Python.

The remote command is one constant string; nothing from a listing or a configuration ever
reaches a shell. The operator's ~/.ssh/config is honoured, jump hosts included, but for
what would weaken us: host keys are strict, nothing is forwarded, no connection is shared.
"""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cachemig.agent.bootstrap import BOOTSTRAP, PYTHON_FLAGS
from cachemig.errors import UsageError

if TYPE_CHECKING:
    from cachemig.config import SshSettings
    from cachemig.core.urls import ServerUrl

CONNECT_LIMIT_S = 20
ALIVE_INTERVAL_S = 15
ALIVE_COUNT_MAX = 4
REMOTE_COMMAND = f"exec python3 {' '.join(PYTHON_FLAGS)} -c '{BOOTSTRAP}'"
"""Means the same to sh, bash, csh and fish."""

_OPTIONS = (
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "UpdateHostKeys=no",
    "VerifyHostKeyDNS=no",
    f"ConnectTimeout={CONNECT_LIMIT_S}",
    "ConnectionAttempts=1",
    f"ServerAliveInterval={ALIVE_INTERVAL_S}",
    f"ServerAliveCountMax={ALIVE_COUNT_MAX}",
    "TCPKeepAlive=yes",
    "ControlMaster=no",
    "ControlPath=none",  # each lane is a TCP connection of its own
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "ForwardX11=no",
    "Tunnel=no",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
    "RequestTTY=no",
    "EscapeChar=none",
    "Compression=no",  # the archives are compressed
    "LogLevel=INFO",  # below it, ssh does not say that no algorithm fits
)


def agent_argv(url: "ServerUrl", ssh: "SshSettings") -> list[str]:
    """Make the argv of a child whose stdin and stdout are those of the server's agent.

    Raises:
        UsageError: no agent can run there: it is a bucket.
    """
    if url.scheme == "path":
        return [sys.executable, *PYTHON_FLAGS, "-c", BOOTSTRAP]
    if url.scheme == "s3":
        raise UsageError(
            f"{url} is a bucket; no agent can run there", next_step="name a path or an ssh:// url"
        )
    if chosen_client(ssh) == "openssh":
        return _openssh_argv(url, ssh)
    return _paramiko_argv(url, ssh)


def chosen_client(ssh: "SshSettings") -> str:
    """Say which client will be used: openssh where there is one, unless one is named."""
    if ssh.client != "auto":
        return ssh.client
    return "openssh" if shutil.which("ssh") else "paramiko"


def _openssh_argv(url: "ServerUrl", ssh: "SshSettings") -> list[str]:
    options = list(_OPTIONS)
    if ssh.known_hosts_file:
        options += [f"UserKnownHostsFile={_quoted(ssh.known_hosts_file)}"]
        options += ["GlobalKnownHostsFile=/dev/null"]
    if ssh.identity_file:
        options += [f"IdentityFile={_quoted(ssh.identity_file)}", "IdentitiesOnly=yes"]
    if url.user:
        options += [f"User={url.user}"]
    if url.port:
        options += [f"Port={url.port}"]
    flags = [flag for option in options for flag in ("-o", option)]
    return ["ssh", "-T", *flags, "--", url.host, REMOTE_COMMAND]


def _quoted(path: Path) -> str:
    """Write a path for ssh_config(5): spaces are kept, and ``%`` is no token."""
    escaped = str(path.expanduser()).replace("%", "%%").replace('"', '\\"')
    return f'"{escaped}"'


def _paramiko_argv(url: "ServerUrl", ssh: "SshSettings") -> list[str]:
    # -P: a folder named cachemig in the working directory must not be run.
    argv = [sys.executable, "-P", "-m", "cachemig.stores.paramiko_pipe", "--host", url.host]
    if url.user:
        argv += ["--user", url.user]
    if url.port:
        argv += ["--port", str(url.port)]
    if ssh.identity_file:
        argv += ["--identity", str(ssh.identity_file.expanduser())]
    if ssh.known_hosts_file:
        argv += ["--known-hosts", str(ssh.known_hosts_file.expanduser())]
    return [*argv, "--", REMOTE_COMMAND]
