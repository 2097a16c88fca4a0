"""Read cachemig.toml, or say on which line it is wrong."""

import os
import re
import stat
import tomllib
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cachemig.config.checks import Fault, faults
from cachemig.config.lines import KeyPath, line_finder
from cachemig.config.schema import FileTable, ServerTable, SiteTable, below, keys_at
from cachemig.config.values import (
    Cache,
    Config,
    Customer,
    Server,
    Site,
    SshSettings,
    SyncSettings,
    nearest,
)
from cachemig.errors import ConfigError

MAX_FILE_BYTES = 1024 * 1024
STATE_DIRECTORY = ".cachemig"
_AGAIN = "then run the same command again"

_MAX_FAULTS_SOUGHT = 1000
_MAX_LINES_TOLD = 20
_TOO_MANY_DIGITS = re.compile(r"^[^#\n]*?[0-9][0-9_]{4300,}", re.MULTILINE)
_TOML_POSITION = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def load(path: Path) -> Config:
    """Read and check a configuration file; of all it names, only the SSH key is looked for.

    Raises:
        ConfigError: it can not be read, is not TOML, or says something that can not be.
    """
    document = _read_text(path)
    try:
        file, found = _checked(_parsed(path, document), path.parent)
        if file is None or found:
            raise _config_error(path, document, found)
    except RecursionError as error:
        raise ConfigError(f"{path} is nested too deeply") from error
    return _as_config(path, file)


def _parsed(path: Path, document: str) -> dict[str, Any]:
    try:
        return tomllib.loads(document)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(path, document, str(error)) from error
    except ValueError as error:  # Python reads no integer of more than 4300 decimal digits
        number = _TOO_MANY_DIGITS.search(document)
        line = document.count("\n", 0, number.end()) + 1 if number else 1
        raise ConfigError(f"{path}:{line}: a number has too many digits") from error


def _checked(tables: Mapping[str, object], folder: Path) -> tuple[FileTable | None, list[Fault]]:
    """Check all tables; without a fault in one of them, also how they go together.

    What pydantic raises does not leave this function: Python's garbage collector can not look
    into it, so it would keep every frame that it passed, and all that these import, for ever.
    """
    try:
        file = FileTable.model_validate(tables)
    except ValidationError as error:
        details = islice(error.errors(include_url=False), _MAX_FAULTS_SOUGHT)
        return None, [_as_fault(detail) for detail in details]
    return file, list(islice(faults(file, folder), _MAX_FAULTS_SOUGHT))


def _read_text(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ConfigError(
            f"there is no {path}",
            next_step="write one with `cachemig init`, or name another with --config",
        ) from None
    except (OSError, ValueError) as error:
        raise _unreadable(path, str(error)) from error
    try:
        _check_kind(path, os.fstat(descriptor))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return _decoded(path, file.read(MAX_FILE_BYTES + 1))
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    finally:
        os.close(descriptor)


def _check_kind(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _unreadable(path, "it is not a regular file")
    if status.st_size > MAX_FILE_BYTES:
        raise _unreadable(path, f"it is larger than {MAX_FILE_BYTES:,} bytes")
    if status.st_mode & stat.S_IWOTH:
        raise ConfigError(
            f"{path} can be written by everybody",
            cause="whoever writes it decides which servers are read and written",
            next_step=f"chmod o-w {path}",
        )


def _decoded(path: Path, content: bytes) -> str:
    if content.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise ConfigError(
            f"{path}:1: it starts with a byte order mark", next_step="save it as plain UTF-8"
        )
    try:
        return content.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}:{line}: it is not UTF-8", next_step="save it as plain UTF-8"
        ) from error


def _unreadable(path: Path, cause: str) -> ConfigError:
    return ConfigError(
        f"{path} can not be read", cause=cause, next_step="name another file with --config"
    )


def _syntax_error(path: Path, document: str, message: str) -> ConfigError:
    position = _TOML_POSITION.search(message)
    line, column = (position[1], position[2]) if position else (None, None)
    where = f"{line}:{column}" if line else str(document.rstrip().count("\n") + 1)
    text = _TOML_POSITION.sub("", message)
    return ConfigError(
        f"{path}:{where}: {text[:1].lower()}{text[1:]}",
        next_step=f"mend it; {_AGAIN}; `cachemig init example.toml` writes an example",
    )


def _config_error(path: Path, document: str, found: Iterable[Fault]) -> ConfigError:
    """Tell the first fault by line, and where others follow."""
    line_of = line_finder(document)
    placed = sorted((line_of(fault.key), fault.text) for fault in found)
    line, text = placed[0]
    others = sorted({other_line for other_line, _ in placed[1:]})
    if not others:
        return ConfigError(f"{path}:{line}: {text}", next_step=f"mend it; {_AGAIN}")
    then = f"mend it; more is wrong on line {', '.join(map(str, others[:_MAX_LINES_TOLD]))}"
    if len(others) > _MAX_LINES_TOLD:
        then += f", and in {len(others) - _MAX_LINES_TOLD} other lines"
    return ConfigError(f"{path}:{line}: {text}", next_step=then)


def _as_fault(detail: ErrorDetails) -> Fault:
    """Say what pydantic found, in words of the file."""
    key: KeyPath = tuple(part for part in detail["loc"] if part != "[key]")
    table, name = key[:-1], key[-1] if key else ""
    where = f'"{name}" in {_printed(table)}'
    match detail["type"]:
        case "extra_forbidden":
            text = f'unknown key "{name}" in {_printed(table)}'
            return Fault(key, text + nearest(str(name), keys_at(table)))
        case "missing":
            return Fault(key, f'{_printed(table)} has no "{name}"')
        case "literal_error" if isinstance(detail["input"], str):
            expected = re.findall(r"'([^']*)'", detail["ctx"]["expected"])
            known = " or ".join(f'"{word}"' for word in expected)
            given = detail["input"]
            return Fault(key, f'{where} is "{given}", not {known}{nearest(given, expected)}')
        case "string_pattern_mismatch":
            return Fault(key, f"{where} is not a plain name: letters, digits, dot, hyphen, _")
        case "value_error":
            return Fault(key, f"{where}: {detail['ctx']['error']}")
        case _:
            text = detail["msg"].replace("Input", "it").replace("dictionary", "table")
            return Fault(key, f"{where}: {text} (it is {_toml_type(detail['input'])})")


def _toml_type(value: object) -> str:
    names = {
        bool: "a boolean",
        int: "an integer",
        float: "a float",
        str: "a text",
        list: "an array",
    }
    return names.get(type(value), "a table" if isinstance(value, Mapping) else "a date or time")


def _printed(table: KeyPath) -> str:
    """Print a table as its header in the file."""
    if not table:
        return "the file"
    dotted = ".".join(str(part) for part in table if isinstance(part, str))
    return f"[[{dotted}]]" if isinstance(table[-1], int) else f"[{dotted}]"


def _as_config(path: Path, file: FileTable) -> Config:
    base = path.parent
    ssh: dict[str, Any] = {
        "client": file.ssh.client,
        "identity_file": below(base, file.ssh.identity_file),
        "known_hosts_file": below(base, file.ssh.known_hosts_file),
        "direct_config_file": file.ssh.direct_config_file,
        "silence_limit_s": file.ssh.silence_limit,
    }
    return Config(
        path=path,
        state_dir=below(base, file.state_dir) or base / STATE_DIRECTORY,
        sites={name: _as_site(name, site) for name, site in file.site.items()},
        caches=tuple(Cache(name, cache.path, cache.placement) for name, cache in file.cache.items())
        or (Cache(),),
        ssh=SshSettings(**ssh),
        sync=SyncSettings(file.sync.connections, file.sync.bwlimit),
        customers={
            name: Customer(name, tuple(table.caches), table.weight, table.max_extra_build_time)
            for name, table in file.customer.items()
        },
    )


def _as_site(name: str, site: SiteTable) -> Site:
    return Site(name, tuple(map(_as_server, site.server)), site.group, site.retention)


def _as_server(server: ServerTable) -> Server:
    if server.capacity is not None:
        return Server(server.name, server.url, float(server.capacity), server.capacity)
    return Server(server.name, server.url, 1.0 if server.weight is None else server.weight)
