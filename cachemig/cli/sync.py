"""`cachemig sync OLD NEW`: the main road."""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from cachemig.cli.options import DryRunOption, NewSiteArgument, OldSiteArgument, SshClientOption
from cachemig.cli.run import Run, framed
from cachemig.cli.unmapped import tell_unmapped
from cachemig.core.events import Row, SyncPlanned
from cachemig.errors import UsageError
from cachemig.report.table import values_of

if TYPE_CHECKING:
    from cachemig.config import Config
    from cachemig.engine.routes import Detour
    from cachemig.engine.sync import SyncPlan

ConnectionsOption = Annotated[
    int | None,
    typer.Option(min=1, max=128, help="Connections per pair of servers, to start with."),
]
BwlimitOption = Annotated[
    str | None,
    typer.Option(metavar="RATE", help="Cap over all connections, e.g. 400Mbit/s."),
]
ViaHereOption = Annotated[
    bool, typer.Option("--via-here", help="Send the bytes through this machine.")
]
RunOnOption = Annotated[
    str | None,
    typer.Option(metavar="SSH-URL", help="Send the bytes through this host, e.g. ssh://ops@hop."),
]
SavedOption = Annotated[
    bool, typer.Option("--saved", help="Go by OLD's last inventory; do not scan it first.")
]
AllowEmptyOption = Annotated[
    bool, typer.Option("--allow-empty", help="Accept roots at NEW that are new, or were emptied.")
]
FullOption = Annotated[
    bool, typer.Option("--full", help="Read every directory of OLD, and ask NEW about every name.")
]


@framed
def sync(
    run: Run,
    old: OldSiteArgument,
    new: NewSiteArgument,
    *,
    connections: ConnectionsOption = None,
    bwlimit: BwlimitOption = None,
    via_here: ViaHereOption = False,
    run_on: RunOnOption = None,
    saved: SavedOption = False,
    full: FullOption = False,
    allow_empty: AllowEmptyOption = False,
    ssh_client: SshClientOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Copy what OLD holds to where NEW's shard map wants it; run again to finish the rest."""
    from cachemig.engine.connections import connected, log_in_for_a_first_sync
    from cachemig.engine.routes import all_routes

    config = run.config.with_ssh_client(ssh_client)
    sites = config.pair_of_sites(old, new)
    cap = _cap(bwlimit, config)
    routes = all_routes(config, *sites, _detour(run_on, via_here=via_here))
    tell_unmapped(run, config, sites[1])
    run.onward.between(old, new)
    run.open_log()
    with (
        nullcontext() if dry_run else connected(config, sites, routes, run.run_id, run.tell) as ways
    ):
        lane_count = connections or config.sync.connections
        if ways is not None and not cap:
            log_in_for_a_first_sync(config, sites, lane_count, ways.lanes)
        # Imported while the servers are logged in to: DuckDB takes a tenth of a second.
        from cachemig.engine.scan import ScanOptions
        from cachemig.engine.survey import saved_old_site, scanned_old_site
        from cachemig.engine.sync import SyncOptions, perform, plan_sync

        options = SyncOptions(run.run_id, lane_count, cap, full=full, allow_empty=allow_empty)
        if saved:
            known = saved_old_site(config, sites[0], run.tell)
        else:
            known = scanned_old_site(config, sites[0], ScanOptions(full=full), run.tell)
        path = config.state_dir / "plans" / f"{run.run_id}.parquet"
        plan = plan_sync(config, known, sites[1], routes, path)
        _show_plan(run, plan, dry_run=dry_run)
        if ways is None:
            _show_lacks(run, config, plan, allow_empty=allow_empty)
        else:
            perform(config, plan, options, ways, run.tell)


def _show_plan(run: Run, plan: "SyncPlan", *, dry_run: bool) -> None:
    """Print a plan: as the result, when nothing else is asked for."""
    for row in _plan_rows(plan):
        run.tell(row)
    for line in str(plan).splitlines():
        run.echo(line) if dry_run else run.say(line)
    if dry_run:
        run.only_plan()
        for total in plan.plan.totals:
            objects = total.objects + total.signatures
            run.tell(SyncPlanned(*total.pair, objects, total.size_bytes))


def _show_lacks(run: Run, config: "Config", plan: "SyncPlan", *, allow_empty: bool) -> None:
    """Say what of a plan is not at the new site yet, and how much room there is.

    Raises:
        CachemigError: a new server does not answer.
    """
    from cachemig.core.units import format_size
    from cachemig.engine.preview import preview
    from cachemig.engine.roots import known_roots, roots_path
    from cachemig.errors import most_severe

    roots = roots_path(config.state_dir, plan.plan.new_site)
    found = preview(config, plan, {} if allow_empty else known_roots(roots), run.tell)
    for lack in found.lacks:
        run.tell(Row("to_send", values_of(lack)))
        run.echo(
            f"{lack.source} -> {lack.destination}: of these {lack.planned} objects"
            f" {lack.to_send} are to be sent, {format_size(lack.size_bytes)};"
            f" {format_size(lack.free_bytes)} are free there"
        )
    if found.errors:
        raise most_severe(found.errors)


def _plan_rows(plan: "SyncPlan") -> Iterator[Row]:
    """The plan for scripts: what each pair shall bring and which way, and what stays behind."""
    for pair, objects, signatures, files, size_bytes in plan.plan.totals:
        amounts = {
            "objects": objects,
            "signatures": signatures,
            "files": files,
            "size_bytes": size_bytes,
        }
        ends = {"source": pair.source_server, "destination": pair.server}
        yield Row("plan", {**ends, **amounts, "way": str(plan.routes[pair])})
    for reason, entries in sorted(plan.plan.left_out.items()):
        yield Row("left_out", {"reason": reason, "entries": entries})


def _cap(bwlimit: str | None, config: "Config") -> int:
    from cachemig.core.units import parse_rate

    return config.sync.bwlimit_bytes_per_s or 0 if bwlimit is None else parse_rate(bwlimit)


def _detour(run_on: str | None, *, via_here: bool) -> "Detour":
    from cachemig.core.urls import ServerUrl
    from cachemig.engine.routes import Detour

    if via_here and run_on:
        raise UsageError(
            "--via-here and --run-on exclude each other: the bytes take one way",
            next_step="leave one of them out",
        )
    return Detour(via_here, None if run_on is None else ServerUrl.parse_host(run_on))
