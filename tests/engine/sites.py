"""Two sites of plain folders, and a sync between them as the command runs it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cachemig.agent.protocol import Outcome
from cachemig.config import Config, load
from cachemig.core.events import Event
from cachemig.core.outcomes import Tally
from cachemig.core.shards import ShardMap, new_map
from cachemig.engine.connections import connected, log_in_for_a_first_sync
from cachemig.engine.routes import Detour, all_routes
from cachemig.engine.scan import ScanOptions
from cachemig.engine.survey import scanned_old_site
from cachemig.engine.sync import SyncOptions, perform, plan_sync
from cachemig.files import shards_path, write_shard_maps
from tests.cache_files import OLD_NS, archive, object_path, put

FOLDERS = {"lmp-94": "v94", "lmp-95": "v95/sstate"}
WEIGHTS = {"x": 3.0, "y": 1.0}
OBJECTS = 60


@dataclass
class Sites:
    """An old site of three folders that follow no map, and a new one of two that do."""

    folder: Path
    told: list[Event] = field(default_factory=list)
    runs: int = 0
    urls: Callable[[Path], str] = str
    ssh: str = ""

    @property
    def config(self) -> Config:
        """As written by hand."""
        lines = [self.ssh]
        for site, servers in (("old", "abc"), ("new", "xy")):
            lines.append(f"[site.{site}]")
            for server in servers:
                url = self.urls(self.root(server))
                lines.append(f'[[site.{site}.server]]\nname = "{server}"\nurl = "{url}"')
        placements = ("slots", "whole")
        for (cache, path), placement in zip(FOLDERS.items(), placements, strict=True):
            lines.append(f'[cache.{cache}]\npath = "{path}"\nplacement = "{placement}"')
        (self.folder / "cachemig.toml").write_text("\n".join(lines))
        return load(self.folder / "cachemig.toml")

    @property
    def maps(self) -> Mapping[str, ShardMap]:
        """One for each cache, of different kinds."""
        return {
            "lmp-94": new_map("new", "lmp-94", WEIGHTS, "slots"),
            "lmp-95": new_map("new", "lmp-95", WEIGHTS, "whole"),
        }

    def root(self, server: str) -> Path:
        """The folder of a server."""
        return self.folder / server

    def fill(self) -> None:
        """Make the roots, both caches on all old servers, and strays."""
        for server in "abcxy":
            self.root(server).mkdir()
        for folder in FOLDERS.values():
            for server in "abc":
                (self.root(server) / folder).mkdir(parents=True)
            for number in range(OBJECTS):
                native = f"{folder}/universal" if number % 5 == 0 else folder
                path, root = object_path(native, number), self.root("abc"[number % 3])
                put(root, path, archive(number, 400), OLD_NS + number)
                if number % 2:
                    put(root, f"{path}.siginfo", b"siginfo %d" % number, OLD_NS + number)
            put(self.root("a"), object_path(folder, 0, "_deploy.tar.zst.XyZ123"), b"half")
            put(self.root("b"), f"{folder}/3f/README", b"stray")
        again = object_path("v94", 1)
        put(self.root("a"), again, archive(1, 400), OLD_NS + 1)
        write_shard_maps(shards_path(self.config.state_dir, "new"), self.maps)

    def expected(self) -> dict[str, dict[str, bytes]]:
        """Files by path, by the new server that its cache's map names."""
        found: dict[str, dict[str, bytes]] = {server: {} for server in WEIGHTS}
        for cache, folder in FOLDERS.items():
            for number in range(OBJECTS):
                native = f"{folder}/universal" if number % 5 == 0 else folder
                path = object_path(native, number)
                slot = Path(path).parts[-3]
                here = found[self.maps[cache].owner(slot)]
                here[path] = archive(number, 400)
                if number % 2:
                    here[f"{path}.siginfo"] = b"siginfo %d" % number
        return found

    def sync(
        self,
        detour: Detour | None = None,
        *,
        full: bool = False,
        cap: float = 0,
        allow_empty: bool = False,
    ) -> Tally:
        """Scan, plan and perform, as the command does."""
        config = self.config
        self.runs += 1
        run_id = f"run-{self.runs}"
        lanes = 2 if cap else 1
        options = SyncOptions(
            run_id, lanes, bwlimit_bytes_per_s=cap, full=full, allow_empty=allow_empty
        )
        self.told.clear()
        sites = config.site("old"), config.site("new")
        routes = all_routes(config, *sites, detour or Detour())
        with connected(config, sites, routes, run_id, self.told.append) as ways:
            options_of_scan = ScanOptions(full=full)
            log_in_for_a_first_sync(config, sites, lanes, ways.lanes)
            found = scanned_old_site(config, sites[0], options_of_scan, self.told.append)
            path = config.state_dir / "plans" / f"{run_id}.parquet"
            plan = plan_sync(config, found, sites[1], routes, path)
            return perform(config, plan, options, ways, self.told.append)


def amounts(tally: Tally) -> dict[str, int]:
    """The objects of each outcome that occurred."""
    return {outcome.value: tally[outcome].objects for outcome in Outcome if tally[outcome].objects}
