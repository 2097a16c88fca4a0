"""`cachemig demo`: the main job, on made-up sites, before your eyes."""

from pathlib import Path
from typing import Annotated

import typer

from cachemig.cli.run import Run, framed

FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="Where to make both sites.")]
SshOption = Annotated[bool, typer.Option("--ssh", help="Reach the new site over a local sshd.")]


@framed
def demo(
    run: Run, folder: FolderArgument = Path("cachemig-demo"), *, ssh: SshOption = False
) -> None:
    """Move a made-up cache between two sites in DIR, step by step."""
    from cachemig.demo.run import tour

    tour(folder, run.echo, over_ssh=ssh, output=2 if run.json else 1)
