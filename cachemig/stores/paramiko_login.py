"""Logs in to a server with paramiko as strictly as ssh does: host key first, then our key.

paramiko's own reading of known_hosts fails on ``@revoked`` and ``@cert-authority`` lines
and knows no wildcards, so ours is used. Nothing here ever adds a key to a file.
"""

import logging
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import paramiko
from paramiko.pkey import PublicBlob, UnknownKeyType
from paramiko.ssh_exception import IncompatiblePeer

from cachemig.stores.diagnosis import PipeTrouble, Trouble
from cachemig.stores.known_hosts import HostKey, HostKeys, KnownHosts
from cachemig.stores.paramiko_target import LoginRefusedError, Target, refused

CONNECT_LIMIT_S = 20.0
LOGIN_STEP_LIMIT_S = 30.0
WINDOW_BYTES = 16 * 1024 * 1024
PACKET_BYTES = 256 * 1024
_BROKEN_LINES_SHOWN = 3

_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes256-ctr")
_WEAK = {
    "ciphers": ("aes128-cbc", "aes192-cbc", "aes256-cbc", "3des-cbc"),
    "macs": ("hmac-md5", "hmac-md5-96", "hmac-sha1", "hmac-sha1-96"),
}
_ALGORITHMS_OF_KIND = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}
_IDENTITIES = (Path("~/.ssh/id_ed25519"), Path("~/.ssh/id_ecdsa"), Path("~/.ssh/id_rsa"))


def log_in(target: Target) -> paramiko.Transport:
    """Connect, check the host key, and only then show a key of ours.

    Raises:
        LoginRefusedError: any step failed.
    """
    logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)
    known, files_trouble = _read_known_hosts(target)
    keys = known.lookup(target.key_name, target.port)
    transport = _start(target, _connect(target), keys)
    try:
        _check_host_key(target, transport, keys, files_trouble)
        _authenticate(target, transport)
    except LoginRefusedError:
        transport.close()
        raise
    return transport


def judge_host_key(key: HostKey, known: HostKeys, target: Target) -> PipeTrouble | None:
    """Decide over the key that a server shows; None lets it in."""
    told = PipeTrouble(
        Trouble.HOST_UNKNOWN,
        host=target.printed,
        fingerprint=key.fingerprint,
        kind=key.kind,
        place=str(target.known_hosts[0]),
        cause=f"no key of {target.printed} is known",
    )
    for revoked in known.revoked:
        if revoked.key == key:
            return told._replace(
                trouble=Trouble.HOST_REVOKED,
                place=str(revoked.place),
                cause=f"{revoked.place} revokes the key",
            )
    if any(trusted.key == key for trusted in known.trusted):
        return None
    if known.trusted:
        same_kind = [trusted for trusted in known.trusted if trusted.key.kind == key.kind]
        line = (same_kind or known.trusted)[0]
        return told._replace(
            trouble=Trouble.HOST_CHANGED,
            place=str(line.place),
            cause=f"{line.place} expects {line.key.kind} {line.key.fingerprint}",
        )
    if known.authorities:
        place = known.authorities[0].place
        return told._replace(
            cause=f"{place} names a certificate authority, which the paramiko client can not "
            "use: use --ssh-client openssh, or pin the key itself"
        )
    return told


def _read_known_hosts(target: Target) -> tuple[KnownHosts, list[str]]:
    """Read the files; also say what is wrong with them, in words."""
    try:
        known = KnownHosts.read(target.known_hosts)
    except OSError as problem:
        raise refused(Trouble.HOST_UNKNOWN, target.printed, str(problem)) from None
    words = [f"{line.place} can not be used: {line.cause}" for line in known.broken]
    if not any(file.exists() for file in target.known_hosts):
        words.append(f"{target.known_hosts[0]} does not exist")
    return known, words[:_BROKEN_LINES_SHOWN]


def _connect(target: Target) -> socket.socket:
    try:
        stream = socket.create_connection((target.host, target.port), CONNECT_LIMIT_S)
    except socket.gaierror as problem:
        unknown = problem.errno in {socket.EAI_NONAME, socket.EAI_NODATA}
        trouble = Trouble.NAME_UNKNOWN if unknown else Trouble.LOST
        raise refused(trouble, target.printed, f"{target.host}: {problem.strerror}") from None
    except OSError as problem:
        cause = f"connect to {target.host} port {target.port}: {problem}"
        raise refused(Trouble.LOST, target.printed, cause) from None
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return stream


def _start(target: Target, stream: socket.socket, keys: HostKeys) -> paramiko.Transport:
    """Agree on algorithms and keys; no credential is sent yet."""
    transport = paramiko.Transport(stream, WINDOW_BYTES, PACKET_BYTES, disabled_algorithms=_WEAK)
    transport.banner_timeout = transport.handshake_timeout = LOGIN_STEP_LIMIT_S
    transport.auth_timeout = transport.channel_timeout = LOGIN_STEP_LIMIT_S
    options = transport.get_security_options()
    options.ciphers = (*_CIPHERS, *(set(options.ciphers) - set(_CIPHERS)))
    options.key_types = _known_kinds_first(keys, options.key_types)
    try:
        transport.start_client(timeout=2 * LOGIN_STEP_LIMIT_S)
    except IncompatiblePeer as problem:
        transport.close()
        raise refused(Trouble.NO_COMMON_ALGORITHM, target.printed, str(problem)) from None
    except (paramiko.SSHException, EOFError, OSError) as problem:
        transport.close()
        raise refused(Trouble.LOST, target.printed, _words(problem)) from None
    return transport


def _check_host_key(
    target: Target, transport: paramiko.Transport, keys: HostKeys, files_trouble: list[str]
) -> None:
    trouble = judge_host_key(_shown_key(target, transport), keys, target)
    if trouble:
        cause = "; ".join([trouble.cause, *files_trouble])
        raise LoginRefusedError(trouble._replace(cause=cause))


def _known_kinds_first(keys: HostKeys, algorithms: Sequence[str]) -> tuple[str, ...]:
    """Ask the server for a key of a kind that we know, as ssh does."""
    kinds = [known.key.kind for known in keys.trusted]
    wanted = [a for kind in kinds for a in _ALGORITHMS_OF_KIND.get(kind, (kind,))]
    return tuple(sorted(algorithms, key=lambda algorithm: algorithm not in wanted))


def _shown_key(target: Target, transport: paramiko.Transport) -> HostKey:
    try:
        key = transport.get_remote_server_key()
    except paramiko.SSHException as problem:
        raise refused(Trouble.LOST, target.printed, _words(problem)) from None
    return HostKey(key.get_name(), key.asbytes())


def _authenticate(target: Target, transport: paramiko.Transport) -> None:
    passed_over: list[str] = []
    tried = 0
    try:
        for key in _own_keys(target, passed_over):
            tried += 1
            try:
                further = transport.auth_publickey(target.user, key)
            except paramiko.AuthenticationException as problem:
                last = _words(problem)
                if not transport.is_active() or isinstance(problem, paramiko.BadAuthenticationType):
                    passed_over.append(last)
                    break
            else:
                if not further:
                    return
                passed_over.append(f"the server wants more: {', '.join(further)}")
                break
    except (paramiko.SSHException, EOFError, OSError) as problem:
        raise refused(Trouble.LOST, target.printed, _words(problem)) from None
    cause = f"{target.user}@{target.host}: {tried} key(s) were tried"
    raise refused(Trouble.AUTH_REFUSED, target.printed, "; ".join([cause, *passed_over]))


def _own_keys(target: Target, passed_over: list[str]) -> Iterator[paramiko.PKey]:
    """Yield the keys to try; say of those that can not be used why."""
    agent_keys = {key.asbytes(): key for key in paramiko.Agent().get_keys()}
    for path in target.identities:
        yield from _load(path, agent_keys, passed_over)
    if target.only_identities:
        return
    yield from agent_keys.values()
    if not target.identities:
        for path in _IDENTITIES:
            if path.expanduser().exists():
                yield from _load(path.expanduser(), agent_keys, passed_over)


def _load(
    path: Path, agent_keys: dict[bytes, paramiko.AgentKey], passed_over: list[str]
) -> Iterator[paramiko.PKey]:
    try:
        yield paramiko.PKey.from_path(path)
    except (TypeError, paramiko.PasswordRequiredException):
        public = path.with_name(path.name + ".pub")
        blob = PublicBlob.from_file(str(public)).key_blob if public.exists() else b""
        if blob in agent_keys:
            yield agent_keys[blob]
        else:
            passed_over.append(f"{path} has a passphrase and is not in the ssh-agent")
    except (OSError, ValueError, paramiko.SSHException, UnknownKeyType) as problem:
        passed_over.append(f"{path}: {_words(problem)}")


def _words(problem: Exception) -> str:
    return str(problem) or type(problem).__name__
