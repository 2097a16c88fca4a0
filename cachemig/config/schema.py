"""The tables of cachemig.toml, as pydantic checks them one by one."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator

from cachemig.config.values import (
    DEFAULT_CONNECTIONS,
    DEFAULT_SILENCE_LIMIT_S,
    Placement,
    SshClient,
)
from cachemig.core.units import parse_duration, parse_rate, parse_size
from cachemig.core.urls import ServerUrl
from cachemig.errors import UsageError

T = TypeVar("T")

MAX_CONNECTIONS = 128
MIN_SILENCE_LIMIT_S = 5
MAX_SILENCE_LIMIT_S = 600
_MAX_NAME_BYTES = 255
_OWN_DIRECTORY = ".cachemig"


def _read_by(parse: Callable[[str], T]) -> PlainValidator:
    """Make a validator of a parser, so that its complaint gets file and line."""

    def validate(value: object) -> T:
        if not isinstance(value, str):
            raise ValueError("it must be a text in quotes")  # noqa: TRY004  pydantic's own
        try:
            return parse(value)
        except UsageError as error:
            raise ValueError(f"{error.what}: {error.cause}; {error.next_step}") from error

    return PlainValidator(validate)


def _above_zero(weight: float) -> float:
    if not (math.isfinite(weight) and weight > 0):
        raise ValueError("it must be a number above 0")
    return weight


def _silence_limit(limit_s: int) -> int:
    if not MIN_SILENCE_LIMIT_S <= limit_s <= MAX_SILENCE_LIMIT_S:
        raise ValueError(f"it must be {MIN_SILENCE_LIMIT_S}s to {MAX_SILENCE_LIMIT_S}s")
    return limit_s


def _far_file_path(text: str) -> Path:
    if not text:
        raise ValueError("it is empty")
    if "\0" in text:
        raise ValueError("it holds a NUL, which no path can")
    return Path(text)


def _file_path(text: str) -> Path:
    path = _far_file_path(text)
    try:
        path.expanduser()
    except RuntimeError as error:
        raise ValueError(f"there is no user of the name in {path.parts[0]}") from error
    return path


def below(folder: Path, path: Path | None) -> Path | None:
    """Resolve a path of the file: from its own folder, with ``~`` as the user's home."""
    return None if path is None else folder / path.expanduser()


def _cache_path(path: str) -> str:
    parts = path.split("/")
    if path and not all(parts):
        raise ValueError('it must be relative, without an empty part, such as "v95/sstate-cache"')
    if "." in parts or ".." in parts:
        raise ValueError("it has a part that is . or ..")
    if not path.isprintable():
        raise ValueError("it holds control characters")
    if any(len(part.encode()) > _MAX_NAME_BYTES for part in parts):
        raise ValueError(f"it has a part that is longer than {_MAX_NAME_BYTES} bytes")
    if parts[0] == _OWN_DIRECTORY:
        raise ValueError(f"{_OWN_DIRECTORY} is where cachemig keeps its own files")
    return path


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
Group = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}\$?$")]
Weight = Annotated[float, AfterValidator(_above_zero)]
Url = Annotated[ServerUrl, _read_by(ServerUrl.parse)]
SizeBytes = Annotated[int, _read_by(parse_size)]
RateBytesPerS = Annotated[int, _read_by(parse_rate)]
DurationS = Annotated[int, _read_by(parse_duration)]
SilenceLimitS = Annotated[DurationS, AfterValidator(_silence_limit)]
FilePath = Annotated[Path, _read_by(_file_path)]
FarFilePath = Annotated[Path, _read_by(_far_file_path)]


class Table(BaseModel):
    """A table takes the keys that it knows, with the types that TOML gives them."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ServerTable(Table):
    """``[[site.NAME.server]]``."""

    name: Name
    url: Url
    weight: Weight | None = None
    capacity: SizeBytes | None = None


class SiteTable(Table):
    """``[site.NAME]``."""

    group: Group | None = None
    retention: DurationS | None = None
    server: list[ServerTable] = []


class CacheTable(Table):
    """``[cache.NAME]``."""

    path: Annotated[str, AfterValidator(_cache_path)]
    placement: Placement = "slots"


class SshTable(Table):
    """``[ssh]``."""

    client: SshClient = "auto"
    identity_file: FilePath | None = None
    known_hosts_file: FilePath | None = None
    direct_config_file: FarFilePath | None = None
    silence_limit: SilenceLimitS = DEFAULT_SILENCE_LIMIT_S


class SyncTable(Table):
    """``[sync]``."""

    connections: Annotated[int, Field(ge=1, le=MAX_CONNECTIONS)] = DEFAULT_CONNECTIONS
    bwlimit: RateBytesPerS | None = None


class CustomerTable(Table):
    """``[customer.NAME]``."""

    caches: list[Name]
    weight: Weight = 1.0
    max_extra_build_time: DurationS | None = None


class FileTable(Table):
    """The whole file."""

    state_dir: FilePath | None = None
    site: dict[Name, SiteTable] = {}
    cache: dict[Name, CacheTable] = {}
    ssh: SshTable = SshTable()
    sync: SyncTable = SyncTable()
    customer: dict[Name, CustomerTable] = {}


def keys_at(table: tuple[str | int, ...]) -> list[str]:
    """List the keys that the table at this place of the file may have."""
    match table:
        case ("site", _):
            model: type[Table] = SiteTable
        case ("site", _, "server", _):
            model = ServerTable
        case ("cache", _):
            model = CacheTable
        case ("customer", _):
            model = CustomerTable
        case ("ssh",):
            model = SshTable
        case ("sync",):
            model = SyncTable
        case _:
            model = FileTable
    return list(model.model_fields)
