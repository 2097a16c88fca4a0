"""What a file in a shared-state cache is, told from its path alone.

An object lies at ``[<native>/]<hash[:2]>/<hash[2:4]>/<name>`` where the name is
``sstate:<pn>:<target>:<pv>:<pr>:<arch>:<version>:<hash>_<task><extension>``; before
dunfell the second directory was missing. Any of the fields after the first may be empty
(populate_lic has neither target nor arch), and bitbake cuts target, pv and pr when a
name gets too long: only pn, version, hash and task can be trusted. (hash, task) alone is
shared by several recipes. All else in a cache is a stray, and is never copied.

Source: openembedded-core 35a2c6ed79, meta/classes-global/sstate.bbclass,
generate_sstatefn(), SSTATE_EXTRAPATH, sstate_create_and_sign_package(); bitbake
c251833d, lib/bb/siggen.py and lib/bb/fetch2/.
"""

import re
from dataclasses import dataclass
from enum import StrEnum, auto
from typing import Final, NamedTuple

LONGEST_NAME_BYTES: Final = 254
LONGEST_PATH_BYTES: Final = 1024


class FileKind(StrEnum):
    """What a file in a cache is; all but the first three are strays."""

    ARCHIVE = auto()
    SIGINFO = auto()
    SIG = auto()
    DOWNLOAD_TEMP = auto()
    LOCK = auto()
    DONE = auto()
    WRITER_TEMP = auto()
    SIGNING_TEMP = auto()
    SIGINFO_TEMP = auto()
    NFS_REMOVED = auto()
    BAD_CHECKSUM = auto()
    HASH_DATABASE = auto()
    OWN_TEMP = auto()
    OWN_ASIDE = auto()
    OWN_STATE = auto()
    INVALID_HASH = auto()
    OTHER = auto()
    REJECTED = auto()

    @property
    def is_stray(self) -> bool:
        """Whether the file is no part of an object, and so never travels."""
        return self not in _OBJECT_KINDS


_OBJECT_KINDS = frozenset({FileKind.ARCHIVE, FileKind.SIGINFO, FileKind.SIG})
_KIND_OF_TAIL = {"": FileKind.ARCHIVE, ".siginfo": FileKind.SIGINFO, ".sig": FileKind.SIG}
_TAIL_OF_KIND = {kind: tail for tail, kind in _KIND_OF_TAIL.items()}

_NAME = re.compile(
    r"sstate:([^:/]+):([^:/]*):([^:/]*):([^:/]*):([^:/]*):([^:/]*)"
    r":([0-9a-f]{64}|[0-9a-f]{32}|INVALID)_([A-Za-z0-9_+-]+)(\.tar\.zst|\.tgz)(.*)",
    re.DOTALL,
)
_HEX_PAIR_FIRST = re.compile(r"[0-9a-f]{2}(?:/|\Z)")
_HEX_PAIRS_LAST = re.compile(r"(?:\A|/)[0-9a-f]{2}(?:/[0-9a-f]{2})?\Z")
_SIGNING_DIRECTORY = re.compile(r"(?:\A|/)tmp[a-z0-9_]{8}\Z")
_WRITER_TAIL = re.compile(r"\.?[A-Za-z0-9_]{8}")

_STRAYS: Final = (
    (re.compile(r"\.cm-aside-"), FileKind.OWN_ASIDE),
    (re.compile(r"\.cm-"), FileKind.OWN_TEMP),
    (re.compile(r"\.nfs[0-9A-Fa-f]+\Z"), FileKind.NFS_REMOVED),
    (re.compile(r"sigtask\."), FileKind.SIGINFO_TEMP),
    (re.compile(r"hashserv\.db(?:-wal|-shm|-journal)?\Z"), FileKind.HASH_DATABASE),
    (re.compile(r".*_bad-checksum_", re.DOTALL), FileKind.BAD_CHECKSUM),
    (re.compile(r".*\.tmp\Z", re.DOTALL), FileKind.DOWNLOAD_TEMP),
    (re.compile(r".*\.lock\Z", re.DOTALL), FileKind.LOCK),
    (re.compile(r".*\.done\Z", re.DOTALL), FileKind.DONE),
)


@dataclass(frozen=True, slots=True)
class ObjectName:
    """The name of an object: of its archive, whether or not that is there.

    Archive and companions of one object have equal names. `extension` starts with a dot.
    """

    pn: str
    target: str
    pv: str
    pr: str
    arch: str
    version: str
    hash: str
    task: str
    extension: str

    @classmethod
    def parse(cls, file_name: str) -> "tuple[ObjectName, FileKind] | None":
        """Read an archive's, siginfo's or signature's base name; None when it is none."""
        match = _NAME.fullmatch(file_name)
        if match is None:
            return None
        kind = _KIND_OF_TAIL.get(match[10])
        if kind is None or match[7] == "INVALID":
            return None
        return cls(*match.groups()[:9]), kind

    @property
    def file_name(self) -> str:
        """The archive's base name."""
        return (
            f"sstate:{self.pn}:{self.target}:{self.pv}:{self.pr}:{self.arch}:{self.version}"
            f":{self.hash}_{self.task}{self.extension}"
        )

    @property
    def slot(self) -> str:
        """The first two hex digits of the hash; what a shard map places."""
        return self.hash[:2]

    def file_name_of(self, kind: FileKind) -> str:
        """The base name of the archive or of one of its companions."""
        return self.file_name + _TAIL_OF_KIND[kind]

    def directory(self, native: str) -> str:
        """The directory that bitbake looks in, for a native directory or for ``""``."""
        pair = f"{self.hash[:2]}/{self.hash[2:4]}"
        return f"{native}/{pair}" if native else pair


class Classified(NamedTuple):
    """What one path is.

    Attributes:
        kind: what the file is.
        name: the object it belongs to; None for a stray.
        native: the directories above ``xx/yy``, such as ``universal``; mostly empty.
        misplaced: an object that lies where bitbake does not look for it.
    """

    kind: FileKind
    name: ObjectName | None = None
    native: str = ""
    misplaced: bool = False


_REJECTED: Final = Classified(FileKind.REJECTED)


def classify(path: str) -> Classified:
    """Tell what lies at a path below a cache's folder; never raises.

    A path that could not be handled safely everywhere is REJECTED: absolute, with an
    empty, ``.`` or ``..`` part, not UTF-8, unprintable, or too long.
    """
    if _is_unsafe(path):
        return _REJECTED
    directory, _, file_name = path.rpartition("/")
    match = _NAME.fullmatch(file_name)
    if match is None:
        return Classified(_stray_kind(directory, file_name))
    kind = _KIND_OF_TAIL.get(match[10])
    if kind is None:
        is_temp = _WRITER_TAIL.fullmatch(match[10]) is not None
        return Classified(FileKind.WRITER_TEMP if is_temp else _stray_kind(directory, file_name))
    if match[7] == "INVALID":
        return Classified(FileKind.INVALID_HASH)
    if "tmp" in directory and _SIGNING_DIRECTORY.search(directory):
        return Classified(FileKind.SIGNING_TEMP)
    name = ObjectName(*match.groups()[:9])
    return Classified(kind, name, *_placement(directory, name))


def _is_unsafe(path: str) -> bool:
    parts = f"/{path}/"
    if not path.isprintable() or "//" in parts or "/./" in parts or "/../" in parts:
        return True
    if len(path) <= LONGEST_NAME_BYTES and path.isascii():
        return False
    return len(path.encode()) > LONGEST_PATH_BYTES or any(
        len(part.encode()) > LONGEST_NAME_BYTES for part in path.split("/")
    )


def _placement(directory: str, name: ObjectName) -> tuple[str, bool]:
    """Tell the native directory, and whether the object is misplaced."""
    pair = name.directory("")
    if directory == pair:
        return "", False
    first = pair[:2] if name.extension == ".tgz" else pair  # one level: before dunfell
    for expected in (pair, first):
        if f"/{directory}".endswith(f"/{expected}"):
            native = directory[: -len(expected)].rstrip("/")
            return native, _HEX_PAIR_FIRST.match(native) is not None
    return _HEX_PAIRS_LAST.sub("", directory), True


def _stray_kind(directory: str, file_name: str) -> FileKind:
    if directory == ".cachemig" or directory.startswith(".cachemig/"):
        return FileKind.OWN_STATE
    if _SIGNING_DIRECTORY.search(directory):
        return FileKind.SIGNING_TEMP
    return next((kind for shape, kind in _STRAYS if shape.match(file_name)), FileKind.OTHER)
