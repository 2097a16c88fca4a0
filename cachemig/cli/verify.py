"""`cachemig verify ...` and `cachemig quarantine`: prove what arrived, and clear what is broken."""

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from cachemig.cli.options import (
    DryRunOption,
    NewSiteArgument,
    OldSiteArgument,
    SiteArgument,
    SshClientOption,
    command_group,
)
from cachemig.cli.run import Run, framed
from cachemig.core.events import Row
from cachemig.errors import ExitCode, UsageError, most_severe
from cachemig.report.table import values_of

if TYPE_CHECKING:
    from cachemig.catalog.presence import AbsentObject
    from cachemig.engine.integrity import ServerIntegrity
    from cachemig.engine.quarantine import DamagedArchive

app = command_group("Prove that a cache arrived, and that it is whole.")

_ROWS_SHOWN = 20
_ANSWER = "set aside"

SavedOption = Annotated[
    bool, typer.Option("--saved", help="Go by OLD's last inventory; do not ask OLD at all.")
]
DeepOption = Annotated[
    bool, typer.Option("--deep", help="Unpack every archive, and list the tar inside.")
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]


class Absence(NamedTuple):
    """One object that a build would not find whole on the server where it looks."""

    cache: str
    server: str
    path: str
    kind: str
    state: str
    size_bytes: int


@app.command()
@framed
def presence(
    run: Run,
    old: OldSiteArgument,
    new: NewSiteArgument,
    *,
    saved: SavedOption = False,
    ssh_client: SshClientOption = None,
) -> None:
    """Check that NEW has what OLD holds, on the servers where builds will look for it.

    With -v, objects that another build left there under the same name are listed as well.
    """
    from cachemig.cli.unmapped import tell_unmapped
    from cachemig.engine.verify import compared_sites, presence_code, refuse_uncompared

    config = run.config.with_ssh_client(ssh_client)
    old_site, new_site = config.pair_of_sites(old, new)
    run.open_log()
    tell_unmapped(run, config, new_site)
    with compared_sites(config, old_site, new_site, run.tell, saved=saved) as answer:
        totals = answer.totals()
        _show(run, "presence", totals)
        code = presence_code(totals)
        _list(run, "absent", _absences(answer.absent(other_size=run.verbose)))
    run.fail(code)
    refuse_uncompared(config, totals)
    if code is ExitCode.OK:
        run.say(f"{new} has everything that {old} holds, where builds will look for it")
    cure = [("quarantine", new)] if code is ExitCode.INTEGRITY else []
    _go_on(run, code, *cure, ("sync", old, new))


@app.command()
@framed
def integrity(
    run: Run,
    site: SiteArgument,
    *,
    deep: DeepOption = False,
    ssh_client: SshClientOption = None,
) -> None:
    """Check SITE against our receipts; what others brought, by its structure alone."""
    from cachemig.engine.integrity import Inspection
    from cachemig.engine.integrity import integrity as inspect
    from cachemig.engine.proof import Finding
    from cachemig.engine.survey import scanned_answering

    config = run.config.with_ssh_client(ssh_client)
    run.open_log()
    findings: list[Finding] = []

    def note(finding: Finding) -> None:
        run.tell(Row("finding", values_of(finding)))
        if len(findings) <= _ROWS_SHOWN:
            findings.append(finding)

    with scanned_answering(config, config.site(site), run.tell) as (inventory, silent):
        checked = inspect(Inspection(config, inventory, deep, run.tell, note, silent))
    if not run.json:
        run.show("finding", findings[:_ROWS_SHOWN])
    if len(findings) > _ROWS_SHOWN:
        run.say(f"more findings than these {_ROWS_SHOWN} are in {run.log_path}")
    _show(run, "integrity", checked.servers)
    for result in checked.servers:
        run.fail(result.exit_code)
        _remark(run, result, site)
    differs = any(result.differs for result in checked.servers)
    _go_on(run, run.exit_code(), ("quarantine", site, *(["--deep"] if deep or differs else [])))
    if checked.errors:
        raise most_severe(checked.errors)


def _remark(run: Run, result: "ServerIntegrity", site: str) -> None:
    """Say what the numbers of a server do not say."""
    from cachemig.engine.integrity import Checked

    if result.checked is not Checked.ALL:
        none = result.checked is Checked.NONE
        run.say(f"{result.server}: {'nothing' if none else 'only a part'} of it was checked")
    elif not result.whole and result.structure_only + result.unproved:
        run.say(f"{result.server}: nothing there was compared with a receipt: we have none")
    if result.missing:
        run.say(f"{result.server}: what is missing comes again with the next sync to {site}")


@framed
def quarantine(
    run: Run,
    site: SiteArgument,
    *,
    deep: DeepOption = False,
    yes: YesOption = False,
    ssh_client: SshClientOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Rename the damaged archives of SITE aside, so that a sync or a build can replace them."""
    from cachemig.engine.quarantine import perform_quarantine, plan_quarantine

    config = run.config.with_ssh_client(ssh_client)
    chosen = config.site(site)
    run.open_log()
    plan = plan_quarantine(config, chosen, run.tell, deep=deep)
    _show(run, "damaged", plan)
    if not plan:
        run.say(f"{site} has no damaged archive")
        return
    if dry_run:
        return
    if not yes:
        _confirm(run, plan)
    _show(run, "set_aside", list(perform_quarantine(config, chosen, plan, run.run_id)))
    run.say("each server's .cachemig/aside.jsonl keeps the old names; nothing was deleted")


def _confirm(run: Run, plan: "list[DamagedArchive]") -> None:
    """Have the operator type an answer; nobody else can.

    Raises:
        UsageError: there is no terminal, or the answer was another.
    """
    if not sys.stdin.isatty():
        raise UsageError(
            "nobody is at a terminal to confirm; nothing was touched",
            next_step="look at the list, then run the command with --yes",
        )
    archives = "this archive" if len(plan) == 1 else f"these {len(plan)} archives"
    if run.ask(f'Type "{_ANSWER}" to rename {archives}: ') != _ANSWER:
        raise UsageError("not confirmed; nothing was touched", next_step="run it again if wanted")


def _go_on(run: Run, code: ExitCode, *commands: tuple[str, ...]) -> None:
    """Say what to type when a check failed: the check itself would only fail again."""
    if code in {ExitCode.NO_GO, ExitCode.INTEGRITY}:
        for command in commands:
            run.onward.instead(*command)
        run.say(f"next: {run.onward.command(code)}")


def _absences(objects: "Iterable[AbsentObject]") -> Iterator[Absence]:
    for found in objects:
        path = f"{found.directory}/{found.name}".lstrip("/")
        yield Absence(
            found.cache, found.server, path, found.kind, found.state.value, found.size_bytes
        )


def _show(run: Run, table: str, rows: Iterable[object]) -> None:
    """Print a result, and keep it in the run log."""
    found = list(rows)
    run.show(table, found)
    if not run.json:
        for row in found:
            run.tell(Row(table, values_of(row)))


def _list(run: Run, table: str, rows: Iterable[object]) -> None:
    """Tell every row of a list that may be long; people see its beginning."""
    shown: list[object] = []
    told = 0
    for row in rows:
        run.tell(Row(table, values_of(row)))
        told += 1
        if told <= _ROWS_SHOWN:
            shown.append(row)
    if not run.json:
        run.show(table, shown)
    if told > len(shown):
        run.say(f"{told - len(shown)} more are in {run.log_path}")
