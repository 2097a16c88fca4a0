"""Two sites with real files, and the real program that moves them, in processes of its own.

Every run that is started here is held to what must be true of all runs, whatever is wrong
with disks, sources or names: see `Ran.check`.
"""

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import zstandard

import cachemig.report
from cachemig.demo.sshd import Sshd

LIMIT_S = 90
OWN_DIRECTORY = ".cachemig"


@dataclass(frozen=True, slots=True)
class Ran:
    """A run that has ended."""

    argv: tuple[str, ...]
    code: int
    out: bytes
    err: bytes

    @property
    def events(self) -> list[dict[str, Any]]:
        """The lines of --json."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def counts(self) -> dict[str, int]:
        """The objects of each outcome that occurred."""
        return {name: n for name, n in self.events[-1]["counts"].items() if n}

    @property
    def error(self) -> dict[str, Any]:
        """The error that ended the run."""
        (told,) = [event for event in self.events if event["type"] == "error"]
        return told

    def objects(self, outcome: str) -> list[dict[str, Any]]:
        """The objects that were told singly with this outcome."""
        return [
            event
            for event in self.events
            if event["type"] == "object" and event["outcome"] == outcome
        ]

    def left_out(self) -> dict[str, int]:
        """What the plan leaves behind, by reason; told as `left out: 3 damaged, 14 stray`."""
        texts = [event["text"] for event in self.events if event["type"] == "notice"]
        (line,) = [text for text in texts if text.startswith("left out: ")] or [""]
        counts = (item.split() for item in line.removeprefix("left out: ").split(", ") if item)
        return {reason: int(count) for count, reason in counts}

    def check(self) -> None:
        """Hold the run to what every run promises.

        The last line of --json gives the exit code of the process; its counts add up to the
        plan; every line fits the schema; no byte on any output moves a cursor; and nothing
        is a fault of the program itself.
        """
        shown = f"{self.argv}: {self.code}\n{self.err.decode(errors='replace')}"
        assert self.code != 1, shown
        assert b"Traceback" not in self.out + self.err, shown
        for output in (self.out, self.err):
            assert printable_lines(output), repr(output)
        end = self.events[-1]
        assert (end["type"], end["exit_code"]) == ("run_end", self.code), shown
        if self.argv[0] == "sync":
            assert sum(end["counts"].values()) == end["planned"]["objects"], shown
        for event in self.events:
            _schema().validate(event)


class ServerOf(NamedTuple):
    """A server: `root` is its folder on this machine, `url` how the program reaches it."""

    name: str
    root: Path
    url: str
    weight: float = 1.0


@dataclass
class Sites:
    """The sites ``old`` and ``new``, a configuration of them, and a state directory."""

    folder: Path
    caches: dict[str, str] = field(default_factory=dict)
    ssh: dict[str, str] = field(default_factory=dict)
    group: str = ""
    state_dir: str = ""
    connections: int = 2
    python: str = sys.executable
    servers: dict[str, list[ServerOf]] = field(default_factory=lambda: {"old": [], "new": []})

    def add(
        self,
        site: str,
        name: str,
        *,
        sshd: Sshd | None = None,
        root: Path | None = None,
        weight: float = 1.0,
    ) -> Path:
        """Add a server with a root of its own, reached by path or through an sshd."""
        root = root or self.folder / name
        root.mkdir(exist_ok=True)
        url = sshd.url(root) if sshd else str(root)
        self.servers[site].append(ServerOf(name, root, url, weight))
        if sshd:
            self.log_in_at(sshd)
        return root

    def log_in_at(self, sshd: Sshd) -> None:
        """Let one key in everywhere: the program has it, and a server that dials another one."""
        identity = self.folder / "user_key"
        known = self.folder / "known_hosts"
        config = self.folder / "ssh_config"
        if not identity.exists():
            shutil.copy(sshd.identity_file, identity)
            shutil.copy(f"{sshd.identity_file}.pub", f"{identity}.pub")
        for path, line in (
            (sshd.folder / "authorized_keys", Path(f"{identity}.pub").read_text()),
            (known, sshd.known_hosts_file.read_text()),
        ):
            if not path.exists() or line not in path.read_text():
                with path.open("a") as file:
                    file.write(line)
        settings = {
            "IdentityFile": identity,
            "UserKnownHostsFile": known,
            "GlobalKnownHostsFile": "/dev/null",
        }
        lines = [f"  {name} {value}" for name, value in settings.items()]
        config.write_text("\n".join(["Host *", *lines]) + "\n")
        self.ssh |= {
            "identity_file": str(identity),
            "known_hosts_file": str(known),
            "direct_config_file": str(config),
        }

    def write(self) -> None:
        """Write cachemig.toml as things stand."""
        lines = [f'state_dir = "{self.state_dir}"'] if self.state_dir else []
        for site, servers in self.servers.items():
            lines.append(f"[site.{site}]")
            lines += [f'group = "{self.group}"'] if self.group and site == "new" else []
            for server in servers:
                lines += [f"[[site.{site}.server]]", f'name = "{server.name}"']
                lines += [f'url = "{server.url}"', f"weight = {server.weight}"]
        for name, path in self.caches.items():
            lines += [f"[cache.{name}]", f'path = "{path}"']
        lines += ["[ssh]", *(f'{key} = "{value}"' for key, value in self.ssh.items())]
        lines += ["[sync]", f"connections = {self.connections}"]
        (self.folder / "cachemig.toml").write_text("\n".join(lines) + "\n")

    def run(
        self, *argv: str, before: Iterable[str] = (), env: Mapping[str, str] | None = None
    ) -> Ran:
        """Run one command to its end, and hold it to what every run promises."""
        ran = self.start(*argv, before=before, env=env).end()
        ran.check()
        return ran

    def start(
        self, *argv: str, before: Iterable[str] = (), env: Mapping[str, str] | None = None
    ) -> "Running":
        """Start one command."""
        config = str(self.folder / "cachemig.toml")
        process = subprocess.Popen(
            [*before, self.python, "-m", "cachemig", *argv, "--json", "--config", config],
            cwd=self.folder,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        return Running(argv, process)

    def sync(self, *options: str, before: Iterable[str] = ()) -> Ran:
        """Write the configuration, make a shard map if there is none, and sync."""
        self.write()
        if len(self.servers["new"]) > 1 and not self.map_file("new").exists():
            assert self.run("shards", "init", "new").code == 0
        return self.run("sync", "old", "new", *options, before=before)

    def map_file(self, site: str) -> Path:
        """Where the shard maps of a site are kept."""
        return self.state / "shards" / f"{site}.toml"

    @property
    def state(self) -> Path:
        """The state directory."""
        return Path(self.state_dir) if self.state_dir else self.folder / ".cachemig"

    def logs(self) -> Iterator[bytes]:
        """The run logs so far."""
        return (path.read_bytes() for path in sorted(self.state.glob("runs/*.jsonl")))

    def arrived(self) -> dict[str, str]:
        """The files of all new servers together."""
        found: dict[str, str] = {}
        for server in self.servers["new"]:
            here = contents(server.root)
            assert not found.keys() & here.keys(), "one file on two servers"
            found |= here
        return found


class Running(NamedTuple):
    """A run under way."""

    argv: tuple[str, ...]
    process: "subprocess.Popen[bytes]"

    def end(self) -> Ran:
        """Wait for its end; one that takes too long is killed, and fails the test."""
        try:
            out, err = self.process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
            message = f"{self.argv} did not end\n{err.decode(errors='replace')}"
            raise AssertionError(message) from None
        return Ran(self.argv, self.process.returncode, out, err)


def contents(root: Path) -> dict[str, str]:
    """SHA-256 of every regular file below a root, by path, but for what is cachemig's own."""
    found = {}
    for directory, names, files in os.walk(os.fsencode(root)):
        if directory == os.fsencode(root) and OWN_DIRECTORY.encode() in names:
            names.remove(OWN_DIRECTORY.encode())
        for name in files:
            path = Path(os.fsdecode(directory)) / os.fsdecode(name)
            if path.is_file() and not path.is_symlink():
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                found[str(path.relative_to(root))] = digest
    return found


def temps(root: Path) -> list[Path]:
    """Temporary files of ours below a root."""
    return list(root.rglob(".cm-*"))


def printable_lines(output: bytes) -> bool:
    """Whether an output is UTF-8 that holds no control character but line ends."""
    return all(line.isprintable() for line in output.decode().split("\n"))


@cache
def _schema() -> Any:
    path = Path(cachemig.report.__file__).parent / "events.schema.json"
    return jsonschema.Draft202012Validator(json.loads(path.read_text()))


def archive(seed: int, size_bytes: int) -> bytes:
    """A whole archive of about this size."""
    packer = zstandard.ZstdCompressor(level=1, write_checksum=True)
    return packer.compress(random.Random(seed).randbytes(size_bytes))


def archive_path(number: int, native: str = "") -> str:
    """Where the archive of object `number` lies, below its cache's folder."""
    digits = hashlib.sha256(str(number).encode()).hexdigest()
    name = f"sstate:recipe-{number}:core2-64:1.{number}:r0:core2-64:14:{digits}_package.tar.zst"
    pair = f"{digits[:2]}/{digits[2:4]}/{name}"
    return f"{native}/{pair}" if native else pair


def write(path: Path, data: bytes, mtime_s: float | None = None) -> None:
    """Write a file as bitbake's users share it, with its directories."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(0o664)
    if mtime_s is not None:
        os.utime(path, (mtime_s, mtime_s))


def fill(root: Path, numbers: Iterable[int], size_bytes: int = 3000, native: str = "") -> list[str]:
    """Write objects, each an archive with its siginfo; returns the archives' paths."""
    paths = [archive_path(number, native) for number in numbers]
    for seed, path in enumerate(paths):
        write(root / path, archive(seed, size_bytes), 1_700_000_000 + seed)
        write(root / f"{path}.siginfo", archive(-seed, 200), 1_700_000_000 + seed)
    return paths
