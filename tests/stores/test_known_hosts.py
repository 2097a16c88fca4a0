"""Our reader of known_hosts says what ssh-keygen says, and keeps what paramiko would lose."""

import base64
import hashlib
import hmac
import re
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachemig.stores.known_hosts import HostKey, KnownHosts, KnownKey

HOSTS = [
    "nfs-1.example.com",
    "nfs-2.example.com",
    "nfs-1",
    "10.0.0.7",
    "fd00::7",
    "NFS-1.Example.com",
]
PORTS = [22, 2222, 22022]


def key(number: int) -> HostKey:
    """Make a well-formed key, one of many."""
    body = hashlib.sha256(bytes([number])).digest()
    kind = b"ssh-ed25519"
    blob = b"".join(len(part).to_bytes(4, "big") + part for part in (kind, body))
    return HostKey("ssh-ed25519", blob)


def printed(host_key: HostKey) -> str:
    """Print a key as files do."""
    return f"{host_key.kind} {base64.b64encode(host_key.blob).decode()}"


def hashed(name: str, salt: bytes = b"s" * 20) -> str:
    """Hash a name as HashKnownHosts does."""
    digest = hmac.digest(salt, name.encode(), "sha1")
    return "|1|" + "|".join(base64.b64encode(part).decode() for part in (salt, digest))


def with_port(host: str, port: int) -> str:
    """Name a host and port as files do."""
    return host.lower() if port == 22 else f"[{host.lower()}]:{port}"


patterns = st.sampled_from(
    [
        *HOSTS,
        "*",
        "*.example.com",
        "nfs-?",
        "nfs-?.example.*",
        "[nfs-1]:2222",
        "[*]:2222",
        "10.0.0.*",
        "[nfs-1.example.com]:*",
        "*:22022",
        "fd00::*",
    ]
)
signed_patterns = st.tuples(st.sampled_from(["", "", "!"]), patterns).map("".join)
names = st.tuples(st.sampled_from(HOSTS), st.sampled_from(PORTS))
fields = st.one_of(
    st.lists(signed_patterns, min_size=1, max_size=4).map(",".join),
    names.map(lambda name: hashed(with_port(*name))),
)
markers = st.sampled_from(["", "", "", "@revoked ", "@cert-authority "])
rows = st.tuples(markers, fields, st.integers(0, 5)).map(
    lambda row: f"{row[0]}{row[1]} {printed(key(row[2]))} a comment"
)
texts = st.lists(st.one_of(rows, st.sampled_from(["", "# a comment", "   "])), max_size=8)


def ssh_keygen_finds(file: Path, name: str) -> dict[int, str]:
    """Ask ssh-keygen: marker by line number."""
    ran = subprocess.run(
        ["ssh-keygen", "-F", name, "-f", str(file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    found = re.findall(r"^# Host .* found: line (\d+) ?(\w*)", ran.stdout, re.MULTILINE)
    return {int(line): marker.strip() for line, marker in found}


def lines_of(known: tuple[KnownKey, ...]) -> list[int]:
    """Line numbers, in order."""
    return [entry.place.line for entry in known]


@settings(max_examples=80, deadline=None)
@given(texts, st.sampled_from(HOSTS), st.sampled_from(PORTS))
def test_the_lines_that_count_are_those_that_ssh_keygen_finds(
    text: list[str], host: str, port: int
) -> None:
    """Names, ports, hashes, wildcards, negations, markers: the same lines, in the same order."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "known_hosts"
        file.write_text("\n".join(text) + "\n")
        oracle = ssh_keygen_finds(file, with_port(host, port))
        bare = ssh_keygen_finds(file, host.lower())

        known = KnownHosts.read([file])
        found = known.lookup(host, port)

    trusted = [line for line, marker in oracle.items() if not marker]
    if not trusted:
        trusted = [line for line, marker in bare.items() if not marker]
    revoked = {line for finds in (oracle, bare) for line, m in finds.items() if m == "REVOKED"}
    assert lines_of(found.trusted) == trusted
    assert set(lines_of(found.revoked)) == revoked
    assert lines_of(found.authorities) == [n for n, marker in oracle.items() if marker == "CA"]
    assert not known.broken


def test_a_fingerprint_is_printed_as_ssh_keygen_does(tmp_path: Path) -> None:
    """An operator compares it by eye."""
    file = tmp_path / "key.pub"
    file.write_text(printed(key(1)))
    told = subprocess.run(
        ["ssh-keygen", "-lf", str(file)], capture_output=True, text=True, check=True, timeout=30
    )

    assert key(1).fingerprint in told.stdout.split()


@pytest.mark.parametrize(
    ("row", "cause"),
    [
        ("nfs-1", "needs a host"),
        ("nfs-1 ssh-ed25519 AAA", "base64"),
        (f"nfs-1 ssh-rsa {printed(key(1)).split()[1]}", "not of the type ssh-rsa"),
        (f"@trusted nfs-1 {printed(key(1))}", "unknown marker @trusted"),
        (f"|1|abc {printed(key(1))}", "hashed name"),
        ("nfs-1 1024 35 1234567", "SSH 1"),
        ("\udc80\udcff x y z", "base64"),
    ],
)
def test_a_line_that_can_not_be_used_is_told(tmp_path: Path, row: str, cause: str) -> None:
    """It is told by file and line, and the other lines count all the same."""
    file = tmp_path / "known_hosts"
    good = f"nfs-1 {printed(key(2))}"
    file.write_bytes(f"{good}\n{row}\n".encode("utf-8", "surrogateescape"))

    known = KnownHosts.read([file])

    assert [str(line.place) for line in known.broken] == [f"{file}:2"]
    assert cause in known.broken[0].cause
    assert lines_of(known.lookup("nfs-1", 22).trusted) == [1]


@given(st.lists(st.binary(max_size=80), max_size=5))
def test_any_bytes_are_read(lines: list[bytes]) -> None:
    """Every line is a key, a comment, or told as broken; nothing raises."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "known_hosts"
        file.write_bytes(b"\n".join(lines))

        KnownHosts.read([file, Path(folder) / "missing"]).lookup("nfs-1", 22)
