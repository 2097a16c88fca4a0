"""Two sites made of plain folders, and the cachemig.toml that tells of them."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from cachemig.core.shards import Placement, ShardMap, new_map
from cachemig.core.units import format_size
from cachemig.demo.cache import DUNFELL, SCARTHGAP, CacheFile, CacheStyle, GeneratedCache
from cachemig.demo.strays import damaged, links, misplaced, strays
from cachemig.errors import UsageError

OLD_SERVERS = ("nfs-1", "nfs-2", "nfs-3")
NEW_SERVERS = {"nfs-8": 2.0, "nfs-9": 1.0}
CONFIG_NAME = "cachemig.toml"
_MARK = "# Written by `cachemig demo`, which makes this folder anew each time.\n"
_OURS = ("old", "new", "sshd", ".cachemig", CONFIG_NAME)
_GONE = Path("/mnt/retired-mirror/sstate")
_ATTIC = "sstate-2023"
_FILE_MODE = 0o664
_DIRECTORY_MODE = 0o2775


class DemoCache(NamedTuple):
    """One cache of the demo: as it stands in cachemig.toml, and what is in it."""

    name: str
    folder: str
    placement: Placement
    style: CacheStyle
    objects: int
    seed: int


CACHES = (
    DemoCache("lmp-95", "v95-sstate-cache", "slots", SCARTHGAP, objects=1250, seed=95),
    DemoCache("lmp-73", "v73-sstate-cache", "whole", DUNFELL, objects=250, seed=73),
)


class Written(NamedTuple):
    """How much was made."""

    files: int
    size_bytes: int

    def __str__(self) -> str:
        """Tell it in one line."""
        return f"{self.files} files, {format_size(self.size_bytes)}"


def clear(folder: Path) -> None:
    """Make the folder, or remove what an earlier demo left in it.

    Raises:
        UsageError: it holds something that is not of the demo.
    """
    config = folder / CONFIG_NAME
    of_demo = config.is_file() and config.read_text(errors="replace").startswith(_MARK)
    if folder.exists() and any(folder.iterdir()) and not of_demo:
        raise UsageError(
            f"{folder} is not empty, and not from an earlier demo; nothing was touched",
            next_step="name a folder that does not exist yet",
        )
    for name in _OURS if of_demo else ():
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)


def write_config(folder: Path, new_url: Callable[[Path], str], ssh_table: str = "") -> None:
    """Write cachemig.toml for both sites.

    Args:
        folder: of the demo.
        new_url: the address under which a folder of the new site is reached.
        ssh_table: TOML text that tells how, when that is ssh.
    """
    servers = [_server_table("old", name, str(folder / "old" / name)) for name in OLD_SERVERS]
    servers += [
        _server_table("new", name, new_url(folder / "new" / name), weight)
        for name, weight in NEW_SERVERS.items()
    ]
    caches = [
        f'[cache.{cache.name}]\npath = "{cache.folder}"\nplacement = "{cache.placement}"\n'
        for cache in CACHES
    ]
    (folder / CONFIG_NAME).write_text("\n".join([_MARK, *servers, *caches, ssh_table]))


def fill(folder: Path, *, objects_share: float = 1.0) -> Written:
    """Make the servers of both sites, those of the old one with generated caches.

    Args:
        folder: of the demo.
        objects_share: makes this part of the usual number of objects.
    """
    for name in NEW_SERVERS:
        _make_directories(folder / "new" / name)
    for name in OLD_SERVERS:
        for cache in CACHES:
            _make_directories(folder / "old" / name / cache.folder)
    start_s = time.time()
    files = size_bytes = 0
    for cache in CACHES:
        for path, file in _placed(folder / "old", cache, objects_share):
            _write(path, file, start_s)
            files, size_bytes = files + 1, size_bytes + len(file.content)
    return Written(files, size_bytes)


def _server_table(site: str, name: str, url: str, weight: float | None = None) -> str:
    lines = [f"[[site.{site}.server]]", f'name = "{name}"', f'url = "{url}"']
    lines += [f"weight = {weight}"] if weight is not None else []
    return "\n".join(lines) + "\n"


def _placed(site: Path, cache: DemoCache, share: float) -> Iterator[tuple[Path, CacheFile]]:
    """Every file of a cache, and where it lies; makes the links as it passes by."""
    shard_map = new_map("old", cache.name, dict.fromkeys(OLD_SERVERS, 1.0), cache.placement)
    made = GeneratedCache(cache.style, int(cache.objects * share), cache.seed)

    def below(path: str) -> Path:
        return site / _owner(shard_map, path) / cache.folder / path

    for file in made.files():
        yield below(file.path), file
    if cache.placement == "whole":
        return
    for file in (*strays(made), *damaged(made), misplaced(made)):
        yield below(file.path), file
    for link in links(made):
        target = _GONE / link.path
        if link.archive is not None:
            target = site / OLD_SERVERS[0] / _ATTIC / link.path
            yield target, link.archive
        _make_directories(below(link.path).parent)
        below(link.path).symlink_to(target)


def _owner(shard_map: ShardMap, path: str) -> str:
    """The server of a file; what lies in no slot is on the owner of the first."""
    pairs = [part for part in path.split("/")[:-1] if len(part) == len("ff")]
    return shard_map.owner(pairs[0] if pairs else "00")


def _write(path: Path, file: CacheFile, now_s: float) -> None:
    _make_directories(path.parent)
    path.write_bytes(file.content)
    path.chmod(_FILE_MODE)
    os.utime(path, (now_s - file.age_s, now_s - file.age_s))


def _make_directories(path: Path) -> None:
    """Like mkdir -p, with the mode that bitbake's users share a cache by."""
    if not path.is_dir():
        _make_directories(path.parent)
        path.mkdir()
        path.chmod(_DIRECTORY_MODE)
