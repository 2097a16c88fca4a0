"""Bring what an old site holds to where a new one wants it: plan, then perform."""

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from cachemig.agent.protocol import Outcome
from cachemig.catalog.candidates import Destination
from cachemig.catalog.database import scratch
from cachemig.catalog.plan import Plan, make_plan
from cachemig.catalog.receipt_writer import ReceiptWriter
from cachemig.catalog.settled import Memory, recall, remember
from cachemig.config import Config, Site
from cachemig.core.events import Notice, ObjectDone, ServerProblem, SyncPlanned, Tell
from cachemig.core.outcomes import Tally
from cachemig.core.pair import Pair
from cachemig.core.paths import joined
from cachemig.engine.adapt import MAX_LANES
from cachemig.engine.asking import Question
from cachemig.engine.connections import Connections
from cachemig.engine.coverage import refuse_gaps
from cachemig.engine.destinations import Reached
from cachemig.engine.held import HeldStore
from cachemig.engine.lanes import Lanes
from cachemig.engine.limits import SharedLimit
from cachemig.engine.pair import Job, PairRun
from cachemig.engine.roots import known_roots, other_root, remember_roots, roots_path
from cachemig.engine.routes import Route
from cachemig.engine.scan import FULL_SCAN_INTERVAL
from cachemig.engine.survey import OldSite, refuse_empty
from cachemig.errors import CachemigError, most_severe
from cachemig.files import effective_maps, settled_path
from cachemig.stores.whereabouts import Whereabouts, refuse_overlap

_STOP_WAIT_S = 5.0


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """What goes where and which way it takes; `str` is what `--dry-run` prints.

    Attributes:
        old_roots: where the roots of the old servers really are, as far as they told.
    """

    plan: Plan
    routes: Mapping[Pair, Route]
    old_roots: Mapping[str, Whereabouts]

    def __str__(self) -> str:
        """Write the plan, and the way of each pair."""
        ways = [f"{pair}: the bytes go {way}" for pair, way in self.routes.items()]
        return "\n".join([str(self.plan), *ways])


def plan_sync(
    config: Config, old_site: OldSite, new: Site, routes: Mapping[Pair, Route], path: Path
) -> SyncPlan:
    """Decide what goes where, and write that down at `path`.

    Raises:
        ScanError: the old site holds nothing at all, or nothing of a cache's folder.
        FormatError: the inventory was made before cachemig.toml was changed.
        ShardMapError: the new site has several servers and no shard map.
        ConfigError: the inventory was made before a server was taken out of cachemig.toml.
    """
    inventory = old_site.inventory
    refuse_gaps(config, inventory)
    refuse_empty(old_site)
    old = config.site(inventory.metadata.site)
    maps = effective_maps(new, config.caches, config.state_dir)
    plan = make_plan(inventory, Destination(new.name, maps), path, old_site.silent)
    for pair in plan.pairs:
        old.server(pair.source_server)
    return SyncPlan(plan, {pair: routes[pair] for pair in plan.pairs}, old_site.roots)


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """How a plan is performed.

    Attributes:
        connections: lanes per pair of servers, to start with.
        bwlimit_bytes_per_s: cap over all lanes together; 0 for none.
        full: ask the new site about every name, whatever earlier runs saw there.
        allow_empty: accept roots that are not those which earlier runs wrote to.
    """

    run_id: str
    connections: int
    bwlimit_bytes_per_s: float = 0
    full: bool = False
    allow_empty: bool = False


def perform(
    config: Config,
    sync_plan: SyncPlan,
    options: SyncOptions,
    connections: Connections,
    tell: Tell,
) -> Tally:
    """Do what the plan says; what is there already is not sent again.

    Raises:
        UsageError: an old and a new server have the same directory.
        LockedError: another run writes to one of the servers.
        CachemigError: a server was out of reach or gave out; the other pairs were finished first.
    """
    plan = sync_plan.plan
    folders = {cache.name: cache.path for cache in config.caches}
    _tell_planned(plan, folders, tell)
    settled = settled_path(config.state_dir, plan.old_site, plan.new_site)
    memory = recall(plan, settled, longest=timedelta(0) if options.full else FULL_SCAN_INTERVAL)
    reached = connections.destinations.stores(dict.fromkeys(pair.server for pair in plan.pairs))
    roots = roots_path(config.state_dir, plan.new_site)
    controls, errors = _as_known(reached, {} if options.allow_empty else known_roots(roots))
    refuse_overlap(
        sync_plan.old_roots, {server: control.whereabouts for server, control in controls.items()}
    )
    for error in errors.values():
        tell(ServerProblem(error.server, error.what, error.cause, "the other servers are served"))
    swept = sum(control.swept_temps for control in controls.values())
    if swept:
        tell(Notice(f"removed {swept} temporary files of runs that did not end well"))
    with (
        scratch(config.state_dir) as scratch_dir,
        ReceiptWriter(config.state_dir, options.run_id, plan.old_site, plan.new_site) as receipts,
    ):
        connections.lanes.expect({name: control.root_id for name, control in controls.items()})
        means = _Means(controls, connections.lanes, memory, scratch_dir, receipts, tell)
        runs = _pair_runs(config, sync_plan, options, means)
        _run_all(runs)
    remember_roots(roots, {server: control.root_id for server, control in controls.items()})
    to_sweep = any(run.lost_lanes for run in runs)
    if not to_sweep:
        connections.destinations.hang_up()  # to part takes a round trip: it passes meanwhile
    remember(plan, {run.pair: run.settled for run in runs}, settled, memory.asked_at)
    _raise_worst([run.error for run in runs if run.error is not None], [*errors.values()], tell)
    if to_sweep:
        for control in controls.values():
            control.sweep_temps()
    return sum((run.tally for run in runs), Tally())


def _as_known(reached: Reached, known: Mapping[str, str]) -> Reached:
    """Pass over servers whose root is not the one that earlier runs wrote to.

    Raises:
        CachemigError: then there is no server left.
    """
    found = {
        server: other_root(server, store.found_root_id, known)
        for server, store in reached.stores.items()
    }
    others = {server: error for server, error in found.items() if error is not None}
    stores = {server: store for server, store in reached.stores.items() if server not in others}
    errors = {**reached.errors, **others}
    if errors and not stores:
        raise most_severe(errors.values())
    return Reached(stores, errors)


def _tell_planned(plan: Plan, folders: Mapping[str, str], tell: Tell) -> None:
    """Say what each pair shall bring, and name what stays behind because it is damaged."""
    damaged = plan.damaged()
    lost = Counter(item.pair for item in damaged)
    for total in plan.totals:
        objects = total.objects + total.signatures + lost.pop(total.pair, 0)
        tell(SyncPlanned(*total.pair, objects, total.size_bytes))
    for pair, objects in lost.items():
        tell(SyncPlanned(*pair, objects, 0))
    for item in damaged:
        tell(
            ObjectDone(
                path=joined(folders[item.cache], item.directory, item.name),
                cache=item.cache,
                server=item.pair.server,
                outcome=Outcome.DAMAGED,
                size_bytes=item.size_bytes,
                source=item.pair.source_server,
                cause=item.damage,
                damaged_at="source",
            )
        )


def _raise_worst(ended: Sequence[Exception], told: Sequence[CachemigError], tell: Tell) -> None:
    """End a run with its most severe error; those that were not told yet are told.

    Raises:
        Exception: whatever ended a pair; a bug of ours before all.
    """
    for error in ended:
        if not isinstance(error, CachemigError):
            raise error
    known = [error for error in ended if isinstance(error, CachemigError)]
    if not known and not told:
        return
    reason = most_severe([*known, *told])
    for error in known:
        if error is not reason:
            tell(ServerProblem(error.server, error.what, error.cause, error.next_step))
    raise reason


class _Means(NamedTuple):
    """What the pairs of a run work with."""

    controls: Mapping[str, HeldStore]
    lanes: Lanes
    memory: Memory
    scratch_dir: Path
    receipts: ReceiptWriter
    tell: Tell


def _pair_runs(
    config: Config, sync_plan: SyncPlan, options: SyncOptions, means: _Means
) -> list[PairRun]:
    plan = sync_plan.plan
    folders = {cache.name: cache.path for cache in config.caches}
    limit = SharedLimit(options.bwlimit_bytes_per_s)
    pairs = [pair for pair in plan.pairs if pair.server in means.controls]
    fair = max(1, MAX_LANES // max(1, len(pairs)))
    first_lanes = limit.lanes_for_pair(min(options.connections, fair))
    limit.lanes = dict.fromkeys(range(len(pairs)), first_lanes)
    runs = []
    for number, pair in enumerate(pairs):
        job = Job(
            question=Question(plan, pair, folders),
            known=means.memory.pairs[pair],
            rest_path=means.scratch_dir / f"rest-{number}.parquet",
            control=means.controls[pair.server],
            lanes=means.lanes,
            first_lanes=first_lanes,
            limit=limit,
            silence_limit_s=config.ssh.silence_limit_s,
            tell=means.tell,
            keep=means.receipts.keep,
        )
        runs.append(PairRun(job, number))
    return runs


def _run_all(runs: Sequence[PairRun]) -> None:
    """Run all pairs at once; a signal stops them within a few seconds."""
    threads = [threading.Thread(target=run.run, daemon=True) for run in runs]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except BaseException:
        for run in runs:
            run.stop(InterruptedError("the run was stopped"))
        for thread in threads:
            thread.join(_STOP_WAIT_S)
        raise
