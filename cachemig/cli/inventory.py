"""`cachemig scan` and `cachemig inventory ...`: what a site holds, and when it was seen."""

from enum import StrEnum, auto
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from cachemig.cli.options import SiteArgument, SshClientOption, command_group
from cachemig.cli.run import Run, framed
from cachemig.errors import UsageError
from cachemig.report.table import table_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cachemig.catalog.difference import DifferingObject
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
ObjectsOption = Annotated[
    bool, typer.Option("--objects", help="List the objects that are not the same at both.")
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


class DifferingEntry(NamedTuple):
    """One object that two sites do not both have alike; None for the one that lacks it."""

    server: str | None
    cache: str
    path: str
    what: str
    size_bytes: int | None
    other_server: str | None
    other_size_bytes: int | None


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
        _list(run, wanted[0].value, _found(inventory.entries(wanted[0])))
    elif by is None:
        _show_summary(run, inventory)
    elif by is By.STRAY:
        _show_strays(run, inventory)
    else:
        run.show(by.value, inventory.totals(Dimension(by.value)))


@app.command()
@framed
def diff(
    run: Run, site: SiteArgument, other: OtherSiteArgument, *, objects: ObjectsOption = False
) -> None:
    """Compare the archives of two sites by name and size, wherever in a site they lie."""
    from cachemig.catalog.difference import difference, differing
    from cachemig.engine.survey import saved_inventory

    one = saved_inventory(run.config, run.config.site(site), run.tell)
    two = saved_inventory(run.config, run.config.site(other), run.tell)
    if objects:
        _list(run, "objects", _differing(site, other, differing(one, two)))
        return
    found = difference(one, two)
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


def _list(run: Run, table: str, rows: "Iterable[tuple[FoundEntry | DifferingEntry, str]]") -> None:
    """Print rows, and text for people, as they come: there may be a million."""
    from cachemig.core.events import Row
    from cachemig.core.quoting import printable
    from cachemig.report.table import values_of

    for row, text in rows:
        if run.json:
            run.tell(Row(table, values_of(row)))
        else:
            run.echo(printable(text))


def _found(entries: "Iterable[Entry]") -> "Iterator[tuple[FoundEntry, str]]":
    for entry in entries:
        path, what = _path(entry), _what(entry)
        row = FoundEntry(entry.server, entry.cache, path, what, entry.size_bytes)
        yield row, f"{entry.server}  {entry.cache}  {path}  ({what})"


def _differing(
    site: str, other: str, objects: "Iterable[DifferingObject]"
) -> "Iterator[tuple[DifferingEntry, str]]":
    for each in objects:
        path, what = _path(each), each.contrast.value
        there = (each.other_server, each.other_size_bytes)
        row = DifferingEntry(each.server, each.cache, path, what, each.size_bytes, *there)
        contrast = _contrast(site, other, each)
        yield row, f"{each.server or each.other_server}  {each.cache}  {path}  ({contrast})"


def _path(found: "Entry | DifferingObject") -> str:
    return f"{found.directory}/{found.name}".lstrip("/")


def _contrast(site: str, other: str, found: "DifferingObject") -> str:
    """Say it in people's words; sizes to the byte, since they may differ by one."""
    if found.size_bytes is None:
        return f"only {other}"
    if found.other_size_bytes is None:
        return f"only {site}"
    return f"{found.size_bytes:,} bytes at {site}, {found.other_size_bytes:,} at {other}"


def _what(entry: "Entry") -> str:
    if entry.target:
        return f"link to {entry.target}" + ("" if entry.resolved else ", not followed")
    return entry.damage or entry.stray_kind or str(entry.kind)
