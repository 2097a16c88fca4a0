"""`cachemig init`: a configuration file to start from."""

import os
from pathlib import Path
from typing import Annotated

import typer

from cachemig.cli.run import Run, framed
from cachemig.errors import UsageError

FileArgument = Annotated[
    Path | None,
    typer.Argument(metavar="FILE", help="The file to write.", show_default="what --config says"),
]


@framed
def init(run: Run, file: FileArgument = None) -> None:
    """Write a commented cachemig.toml to start from; a file that exists is kept."""
    from cachemig.config.starter import STARTER

    path = file or run.config_path
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "w", encoding="utf-8") as starter:
            starter.write(STARTER)
    except FileExistsError:
        raise UsageError(
            "there is a configuration already",
            path=str(path),
            next_step="edit it, or name another file: cachemig init FILE",
        ) from None
    except OSError as error:
        raise UsageError(
            "the configuration can not be written",
            path=str(path),
            cause=error.strerror or str(error),
            next_step="name a file in a folder that can be written",
        ) from error
    run.say(f"wrote {path}; put your servers into it, then try `cachemig scan old`")
