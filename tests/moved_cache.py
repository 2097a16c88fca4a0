"""A real cache that was moved from one site to another, for tests that look at the result."""

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cachemig.cli.app import main

SAMPLE = Path(__file__).parent / "data" / "rig-all-subset.tar.zst"
FOLDER = "v95-cache"


@dataclass(frozen=True, slots=True)
class MovedCache:
    """Two sites of plain folders: `old` with one server, `new` with two."""

    folder: Path

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.folder / "cachemig.toml"

    @property
    def old(self) -> Path:
        """The root of the old server."""
        return self.folder / "old-1"

    def copy(self, folder: Path) -> "MovedCache":
        """Give a test one of its own, which it may spoil."""
        shutil.copytree(self.folder, folder, symlinks=True)
        copied = MovedCache(folder)
        copied.config.write_text(self.config.read_text().replace(str(self.folder), str(folder)))
        return copied

    def cachemig(self, *argv: str) -> int:
        """Run a command in this process; returns its exit code."""
        return main([*argv, "--config", str(self.config)])

    def sync(self) -> None:
        """Bring what the old site has and the new one lacks."""
        assert self.cachemig("sync", "old", "new", "--quiet") == 0

    def archives(self, server: str) -> list[Path]:
        """The archives of one new server, largest first."""
        found = (self.folder / server).rglob("sstate:*.tar.zst")
        return sorted(found, key=lambda path: (-path.stat().st_size, path.name))

    def below_root(self, path: Path) -> str:
        """A path as receipts name it: below its server's root."""
        return str(
            path.relative_to(self.folder).relative_to(path.relative_to(self.folder).parts[0])
        )


def move_cache(folder: Path, urls: Mapping[str, str]) -> MovedCache:
    """Unpack the sample at the old site and bring it to the new one.

    Args:
        folder: gets a root for each server and the configuration.
        urls: of servers that are reached in another way than by their path.
    """
    moved = MovedCache(folder)
    (moved.old / FOLDER).mkdir(parents=True)
    subprocess.run(
        ["tar", "--zstd", "-xf", SAMPLE, "-C", moved.old / FOLDER], check=True, timeout=60
    )
    servers = {"old": ("old-1",), "new": ("new-1", "new-2")}
    lines = [f'[cache.default]\npath = "{FOLDER}"']
    for site, names in servers.items():
        lines.append(f"[site.{site}]")
        for name in names:
            root = folder / name
            root.mkdir(exist_ok=True)
            url = urls.get(name, str(root))
            lines.append(f'[[site.{site}.server]]\nname = "{name}"\nurl = "{url}"')
    moved.config.write_text("\n".join(lines) + "\n")
    assert moved.cachemig("shards", "init", "new", "--quiet") == 0
    moved.sync()
    return moved
