"""Options that several commands share, described once."""

from pathlib import Path
from typing import Annotated, Literal

import typer

ConfigOption = Annotated[Path, typer.Option("--config", metavar="FILE", help="Configuration file.")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON Lines on standard output, nothing else.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print problems only.")]
VerboseOption = Annotated[
    bool, typer.Option("--verbose", "-v", help="Print more: each step, and where errors come from.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")
]
SshClientOption = Annotated[
    Literal["auto", "openssh", "paramiko"] | None,
    typer.Option("--ssh-client", help="Use this client instead of the configured one."),
]
SiteArgument = Annotated[str, typer.Argument(metavar="SITE", help="A site of cachemig.toml.")]
OldSiteArgument = Annotated[str, typer.Argument(metavar="OLD", help="The site to copy from.")]
NewSiteArgument = Annotated[str, typer.Argument(metavar="NEW", help="The site to copy to.")]


def command_group(help_text: str) -> typer.Typer:
    """Make a group of commands with plain help: rich doubles the time that --help takes."""
    return typer.Typer(
        help=help_text,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
