"""Playbooks: ordered steps as TOML files, that travel with the program (playbooks/README.md)."""

import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cachemig.errors import FormatError

_IN_A_WHEEL = "playbook_files"
_IN_A_CHECKOUT = "playbooks"
_STRICT = ConfigDict(extra="forbid", frozen=True)
_Text = Annotated[str, Field(min_length=1)]


class Step(BaseModel):
    """One command, why it is typed, and what to see before the next one."""

    model_config = _STRICT

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
    why: _Text
    command: Annotated[tuple[_Text, ...], Field(min_length=2)]
    look_at: _Text
    exit_codes: Annotated[tuple[int, ...], Field(min_length=1)]

    def argv(self, values: Mapping[str, str]) -> tuple[str, ...]:
        """The command with values put in for its placeholders."""
        return tuple(word.format_map(values) for word in self.command)


class Playbook(BaseModel):
    """Steps in the order in which to perform them."""

    model_config = _STRICT

    format: Literal[1]
    title: _Text
    when: _Text
    placeholders: dict[str, _Text]
    step: Annotated[tuple[Step, ...], Field(min_length=1)]


def playbook_paths() -> tuple[Path, ...]:
    """The playbooks of this installation, be it a checkout or a wheel."""
    package = Path(str(resources.files("cachemig")))
    places = (package / _IN_A_WHEEL, package.parent / _IN_A_CHECKOUT)
    folder = next((place for place in places if place.is_dir()), places[0])
    return tuple(sorted(folder.glob("*.toml")))


def read_playbook(path: Path) -> Playbook:
    """Read one playbook.

    Raises:
        FormatError: it is missing, no TOML, or has unknown or missing keys.
    """
    try:
        return Playbook.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise FormatError(
            "a playbook can not be read",
            path=str(path),
            cause=str(error),
            next_step="compare it with playbooks/README.md",
        ) from error
