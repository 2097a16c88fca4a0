"""One server's files are proved where they lie; what can not be read is never called damaged."""

import hashlib
import os
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import zstandard

from cachemig.catalog.receipts import AuditedFile
from cachemig.config import load
from cachemig.core.events import CheckProgress, Event, ServerProblem
from cachemig.demo.sshd import Sshd
from cachemig.engine.integrity import Inspection, integrity
from cachemig.engine.proof import FileState, Prover, unpack_here
from cachemig.engine.scan import ScanOptions
from cachemig.engine.survey import scan_site
from cachemig.stores.open import open_store
from cachemig.stores.remote import RemoteStore
from tests.agent.test_deep import SOME_TAR
from tests.servers.sshd import NewSshd

ARCHIVE = "aa/bb/sstate:zlib::1.3:r0::12:{}_fetch.tar.zst"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The root of a server."""
    path = tmp_path / "root"
    path.mkdir()
    return path


@pytest.fixture
def store(root: Path, tmp_path: Path) -> Iterator[RemoteStore]:
    """A local server."""
    with opened(tmp_path, str(root)) as store:
        yield store


@contextmanager
def opened(folder: Path, url: str, ssh: str = "") -> Iterator[RemoteStore]:
    """Open a site's only server."""
    config = folder / "cachemig.toml"
    server = f'[site.new]\n[[site.new.server]]\nname = "nfs-9"\nurl = "{url}"\n'
    config.write_text(server + ssh)
    site = load(config).site("new")
    with closing(open_store(load(config), site, site.servers[0])) as store:
        yield store


def write(root: Path, number: int, data: bytes) -> AuditedFile:
    """Put an archive there that we have a receipt for."""
    path = ARCHIVE.format(f"{number:064x}")
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(data)
    return AuditedFile(path, True, len(data), len(data), hashlib.sha256(data).hexdigest())


def states(store: RemoteStore, files: list[AuditedFile], *, deep: bool = False) -> dict[str, str]:
    """Prove files; their states by path."""
    prover = Prover(store, deep=deep, no_zstd=lambda _: None)
    found = list(prover.prove(files))
    assert len(found) == len(files)
    return {finding.path: finding.state.value for finding in found}


def test_what_can_not_be_read_is_not_damaged(root: Path, store: RemoteStore) -> None:
    """With and without a receipt; an empty archive is damaged."""
    receipted = write(root, 1, zstandard.compress(SOME_TAR))
    (root / receipted.path).unlink()
    (root / receipted.path).mkdir()
    foreign = AuditedFile(ARCHIVE.format("2" * 64), True, 5, None, "")
    (root / foreign.path).mkdir()
    empty = write(root, 3, b"")._replace(sha256="", receipt_bytes=None)

    assert states(store, [receipted, foreign, empty]) == {
        receipted.path: "unreadable",
        foreign.path: "unreadable",
        empty.path: "damaged",
    }


def test_what_goes_while_it_is_proved_is_missing(root: Path, store: RemoteStore) -> None:
    """A cleaner works on; that is no damage."""
    file = write(root, 1, zstandard.compress(SOME_TAR))
    (root / file.path).unlink()

    assert states(store, [file]) == {file.path: "missing"}


def test_each_kind_of_file_gets_one_finding(root: Path, store: RemoteStore) -> None:
    """Receipted, foreign, companion, gone: also with `deep`."""
    good = write(root, 1, zstandard.compress(SOME_TAR))
    rotten = write(root, 2, zstandard.compress(SOME_TAR))._replace(sha256="0" * 64)
    foreign = write(root, 3, zstandard.compress(SOME_TAR))._replace(sha256="", receipt_bytes=None)
    broken = write(root, 4, zstandard.compress(b"no tar"))
    companion = AuditedFile(good.path + ".siginfo", False, 9, None, "")
    gone = AuditedFile(ARCHIVE.format("5" * 64), True, None, 9, "0" * 64)
    files = [good, rotten, foreign, broken, companion, gone]
    expected = {
        good.path: "whole",
        rotten.path: "differs",
        foreign.path: "structure_only",
        broken.path: "whole",
        companion.path: "unproved",
        gone.path: "missing",
    }

    assert states(store, files) == expected
    assert states(store, files, deep=True) == {**expected, broken.path: "damaged"}


@pytest.mark.parametrize("chunk_bytes", [1, 1000, 10**6])
def test_an_archive_is_unpacked_here(chunk_bytes: int) -> None:
    """Several frames, any pieces; damage is told as the server would."""
    half = len(SOME_TAR) // 2
    whole = zstandard.compress(SOME_TAR[:half]) + zstandard.compress(SOME_TAR[half:])
    checked = zstandard.ZstdCompressor(write_checksum=True).compress(SOME_TAR)
    flipped = bytearray(checked)
    flipped[len(checked) // 2] ^= 1

    def here(data: bytes) -> str:
        cuts = range(0, len(data), chunk_bytes)
        return unpack_here((data[at : at + chunk_bytes] for at in cuts), len(data))

    assert here(whole) == ""
    assert here(bytes(flipped)).startswith("zstd: ")
    assert "broken tar" in here(zstandard.compress(b"no tar"))
    assert "unpacks to more" in here(zstandard.compress(b"\0" * 300_000_000))


def test_a_server_without_zstd_sends_its_archives_here(
    new_sshd: NewSshd, root: Path, tmp_path: Path
) -> None:
    """It is told once, and the verdict is the same."""
    sshd = new_sshd()
    hide_programs(sshd)
    good = write(root, 1, zstandard.compress(SOME_TAR))
    broken = write(root, 2, zstandard.compress(b"no tar"))
    told: list[str] = []

    with opened(tmp_path, sshd.url(root), ssh_settings(sshd, "openssh")) as store:
        prover = Prover(store, deep=True, no_zstd=told.append)
        found = {finding.path: finding for finding in prover.prove([good, broken])}

    assert set(told) == {"nfs-9"}
    assert found[good.path].state is FileState.WHOLE
    assert found[broken.path].state is FileState.DAMAGED


def hide_programs(sshd: Sshd) -> None:
    """Let sessions find python3 alone."""
    force = 'command="PATH=' + str(sshd.folder / "bin") + '; eval \\"$SSH_ORIGINAL_COMMAND\\"" '
    keys = sshd.folder / "authorized_keys"
    keys.write_text(force + keys.read_text())


def ssh_settings(sshd: Sshd, client: str) -> str:
    """The [ssh] section that lets us in."""
    return (
        f'[ssh]\nclient = "{client}"\nidentity_file = "{sshd.identity_file}"\n'
        f'known_hosts_file = "{sshd.known_hosts_file}"\n'
    )


@pytest.mark.parametrize("client", ["openssh", "paramiko"])
def test_a_lost_connection_is_made_again(
    new_sshd: NewSshd, root: Path, tmp_path: Path, client: str
) -> None:
    """Every session is killed after the first answers; the sum is that of a quiet day."""
    sshd = new_sshd()
    for number in range(900):
        write(root, number, zstandard.compress(b"\0" * 10_240))
    with opened(tmp_path, sshd.url(root), ssh_settings(sshd, client)) as store:
        store.space()
    config = load(tmp_path / "cachemig.toml")
    inventory = scan_site(config, config.site("new"), ScanOptions(), lambda _: None).inventory
    killed: list[int] = []

    def kill_once(_: object) -> None:
        if not killed:
            killed.extend(sshd.session_pids())
            kill_all(killed)

    [result], errors = integrity(Inspection(config, inventory, False, kill_once, lambda _: None))

    assert len(killed) > 1
    assert (result.structure_only, result.checked, errors) == (900, "all", [])
    assert result.exit_code == 0


def test_a_server_that_is_lost_halfway_is_proved_in_part(
    new_sshd: NewSshd, root: Path, tmp_path: Path
) -> None:
    """What it answered before still counts, its trouble is told, the other is proved whole."""
    sshd = new_sshd()
    for number in range(1200):
        write(root, number, zstandard.compress(b"\0" * 10_240))
    other = tmp_path / "other"
    write(other, 1, zstandard.compress(b"\0" * 10_240))
    servers = {"nfs-8": sshd.url(root), "nfs-9": str(other)}
    tables = [f'[[site.new.server]]\nname = "{n}"\nurl = "{url}"\n' for n, url in servers.items()]
    path = tmp_path / "cachemig.toml"
    path.write_text("[site.new]\n" + "".join(tables) + ssh_settings(sshd, "openssh"))
    config = load(path)
    inventory = scan_site(config, config.site("new"), ScanOptions(), lambda _: None).inventory
    told: list[Event] = []

    def unmount(event: Event) -> None:
        told.append(event)
        if isinstance(event, CheckProgress) and event.server == "nfs-8" and root.exists():
            root.rename(tmp_path / "unmounted")
            kill_all(sshd.session_pids())

    (lost, whole), errors = integrity(Inspection(config, inventory, False, unmount, lambda _: None))

    assert (lost.checked, whole.checked, whole.structure_only) == ("part", "all", 1)
    assert 0 < lost.structure_only < 1200
    assert lost.missing == 0
    assert [(error.server, error.exit_code) for error in errors] == [("nfs-8", 7)]
    assert [event.server for event in told if isinstance(event, ServerProblem)] == ["nfs-8"]


def kill_all(pids: list[int]) -> None:
    """Kill sessions, as a crash of the server would."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
