"""`cachemig scan` and `cachemig inventory ...`: what a site holds, and when it was seen."""

from enum import StrEnum, auto
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from cachemig.cli.options import SiteArgument, SshClientOption, command_group
from cachemig.cli.run import Run, framed
from cachemig.errors import UsageError
from cachemig.report.table import table_lines

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cachemig.catalog.inventory import Entry, Inventory

app = command_group("Look at what the last scan of a site saw.")


class By(StrEnum):
    """What totals can be split by."""

    SERVER = auto()
    CACHE = auto()
    SLOT = auto()
    PN = auto()
    TASK = auto()
    STRAY = auto()


FullOption = Annotated[
    bool, typer.Option("--full", help="Read every directory, also those that did not change.")
]
CheckOption = Annotated[
    bool,
    typer.Option(
        "--check-archives",
        help="Have the servers walk the structure of archives that were not checked yet.",
    ),
]
AllowEmptyOption = Annotated[
    bool,
    typer.Option("--allow-empty", help="Accept that a place which held objects is empty now."),
]
ByOption = Annotated[By | None, typer.Option("--by", help="Split the totals by this.")]
StraysOption = Annotated[bool, typer.Option("--strays", help="List what belongs to no object.")]
MisplacedOption = Annotated[
    bool, typer.Option("--misplaced", help="List objects where no build looks for them.")
]
DamagedOption = Annotated[
    bool, typer.Option("--damaged", help="List archives known to be damaged.")
]
LinksOption = Annotated[
    bool, typer.Option("--links", help="List links that have an object's name.")
]
OtherSiteArgument = Annotated[
    str, typer.Argument(metavar="OTHER", help="The site to compare it with.")
]


class StrayTotal(NamedTuple):
    """How many strays there are of one kind."""

    stray: str
    files: int
    size_bytes: int


class FoundEntry(NamedTuple):
    """One stray, link, misplaced or damaged object; `path` is below the cache's folder."""

    server: str
    cache: str
    path: str
    what: str
    size_bytes: int | None


@framed
def scan(
    run: Run,
    site: SiteArgument,
    *,
    full: FullOption = False,
    check_archives: CheckOption = False,
    allow_empty: AllowEmptyOption = False,
    ssh_client: SshClientOption = None,
) -> None:
    """Read what all servers of SITE hold into its inventory; unchanged directories are skipped."""
    from cachemig.engine.scan import ScanOptions
    from cachemig.engine.survey import scan_site

    config = run.config.with_ssh_client(ssh_client)
    chosen = config.site(site)
    run.open_log()
    options = ScanOptions(full=full, check_archives=check_archives, allow_empty=allow_empty)
    result = scan_site(config, chosen, options, run.tell)
    _show_summary(run, result.inventory)
    unchanged, directories = result.directories_unchanged, result.directories
    if result.full:
        run.say(f"every directory was read, {directories:,} in all")
    else:
        run.say(f"{unchanged:,} of {directories:,} directories did not change, the rest was read")
    if check_archives:
        run.say(f"checked the structure of {result.archives_checked} archives")


@app.command()
@framed
def show(
    run: Run,
    site: SiteArgument,
    *,
    by: ByOption = None,
    strays: StraysOption = False,
    misplaced: MisplacedOption = False,
    damaged: DamagedOption = False,
    links: LinksOption = False,
) -> None:
    """Print what the last scan of SITE saw: totals, or one kind of oddity file by file."""
    from cachemig.catalog.inventory import Dimension, Oddity
    from cachemig.engine.survey import saved_inventory

    asked = {
        Oddity.STRAYS: strays,
        Oddity.MISPLACED: misplaced,
        Oddity.DAMAGED: damaged,
        Oddity.LINKS: links,
    }
    wanted = [oddity for oddity, is_asked in asked.items() if is_asked]
    if len(wanted) + (by is not None) > 1:
        raise UsageError(
            "--by, --strays, --misplaced, --damaged and --links exclude each other",
            next_step="ask one question at a time",
        )
    inventory = saved_inventory(run.config, run.config.site(site), run.tell)
    if wanted:
        _list(run, wanted[0].value, inventory.entries(wanted[0]))
    elif by is None:
        _show_summary(run, inventory)
    elif by is By.STRAY:
        _show_strays(run, inventory)
    else:
        run.show(by.value, inventory.totals(Dimension(by.value)))


@app.command()
@framed
def diff(run: Run, site: SiteArgument, other: OtherSiteArgument) -> None:
    """Compare the archives of two sites by name and size, wherever in a site they lie."""
    from cachemig.engine.survey import saved_inventory

    one = saved_inventory(run.config, run.config.site(site), run.tell)
    two = saved_inventory(run.config, run.config.site(other), run.tell)
    found = one.difference(two)
    if run.json:
        run.show("difference", found)
        return
    columns = ("cache", "same", "other size", f"only {site}", f"only {other}")
    sizes = (f"size only {site}_bytes", f"size only {other}_bytes")
    for line in table_lines([dict(zip((*columns, *sizes), row, strict=True)) for row in found]):
        run.echo(line)


def _show_summary(run: Run, inventory: "Inventory") -> None:
    from cachemig.catalog.inventory import Dimension, Total

    found = {total.name: total for total in inventory.totals(Dimension.SERVER)}
    nothing = [0] * (len(Total._fields) - 1)
    names = dict.fromkeys([*inventory.metadata.servers, *found])
    run.show("server", [found.get(name, Total(name, *nothing)) for name in names])
    _show_strays(run, inventory)


def _show_strays(run: Run, inventory: "Inventory") -> None:
    from cachemig.catalog.inventory import Dimension

    totals = inventory.totals(Dimension.STRAY)
    run.show("stray", [StrayTotal(t.name, t.strays, t.size_bytes) for t in totals])


def _list(run: Run, table: str, entries: "Iterable[Entry]") -> None:
    """Print entries as they come: there may be a million."""
    from cachemig.core.events import Row
    from cachemig.core.quoting import printable
    from cachemig.report.table import values_of

    for entry in entries:
        path = f"{entry.directory}/{entry.name}".lstrip("/")
        found = FoundEntry(entry.server, entry.cache, path, _what(entry), entry.size_bytes)
        if run.json:
            run.tell(Row(table, values_of(found)))
        else:
            run.echo(printable(f"{found.server}  {found.cache}  {found.path}  ({found.what})"))


def _what(entry: "Entry") -> str:
    if entry.target:
        return f"link to {entry.target}" + ("" if entry.resolved else ", not followed")
    return entry.damage or entry.stray_kind or str(entry.kind)
