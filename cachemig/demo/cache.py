"""A generated cache that has everything a real one has, the ugly parts too.

Sizes, shares of kinds and numbers per task are those seen in a build of
core-image-minimal; sizes of archives, which nobody has published, are made up: log-normal
around 10 kB.

Source: openembedded-core 35a2c6ed79, meta/classes-global/sstate.bbclass, for the names and
what it leaves behind; bitbake c251833d, lib/bb/fetch2, for what downloads leave behind.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from cachemig.core.names import FileKind, ObjectName
from cachemig.demo.contents import Contents

DAY_S = 86_400
OLDEST_DAYS = 60
_LONGEST_ARCHIVE_NAME = 246
_MEDIAN_ARCHIVE_BYTES = 10_000
_MEDIAN_SIGNATURE_BYTES = 9_200
_LARGEST_ARCHIVE_BYTES = 3_000_000
_LARGEST_SIGNATURE_BYTES = 67_000
_SIGNATURES_ALONE_PER_OBJECT = 0.4
_NATIVE_SHARE = 0.38
_SIGINFO_LOST_SHARE = 0.03
_OBJECTS_PER_SIGNED_ONE = 40
_LONG_NAMES = 3
_LONG_PN = "gstreamer1.0-plugins-imx-with-a-name-that-somebody-found-telling"

_RECIPES = (
    *(("busybox", "1.36.1"), ("glibc", "2.39+git0+ce65d944e3"), ("openssl", "3.2.3")),
    *(("zlib", "1.3.1"), ("systemd", "255.18"), ("gcc", "13.3.0"), ("util-linux", "2.39.3")),
    *(("linux-lmp-fslc-imx", "6.6.52+gitAUTOINC+4ef60c3b23"), ("u-boot-fio", "2024.04+git")),
    *(("gtk+3", "3.24.41"), ("docker-moby", "25.0.3+git0+f417435e5f"), ("ostree", "2024.5")),
    *(("aktualizr-lite", "1.0+git0+b3f9b5a9d1"), ("optee-os-fio", "4.4.0"), ("curl", "8.7.1")),
    *(("python3", "3.12.9"), ("llvm", "18.1.8"), ("libdrm", "2.4.120"), ("e2fsprogs", "1.47.0")),
)
_TASKS = (
    *("deploy_source_date_epoch", "recipe_qa", "create_spdx", "create_recipe_spdx"),
    *("populate_lic", "populate_sysroot", "package", "packagedata", "package_qa"),
    "package_write_ipk",
)
_TASKS_WITHOUT_ARCHIVE = ("fetch", "unpack", "patch", "configure", "compile", "install")
_TASKS_WITH_EMPTY_FIELDS = {"fetch", "unpack", "patch", "populate_lic"}
_MACHINES = (
    ("cortexa53-crypto", "cortexa53-crypto-lmp-linux"),
    ("imx8mm_lpddr4_evk", "imx8mm_lpddr4_evk-lmp-linux"),
    ("allarch", "all-lmp-linux"),
)
_BUILD_HOST = ("x86_64", "x86_64-linux")


class CacheFile(NamedTuple):
    """One file of a generated cache.

    Attributes:
        path: below the cache's folder.
        age_s: how long ago it was last used.
    """

    path: str
    content: bytes
    age_s: int


@dataclass(frozen=True, slots=True)
class CacheStyle:
    """What kind of builds fill a cache."""

    versions: tuple[str, ...]
    extension: str
    natives: tuple[str, ...]


SCARTHGAP = CacheStyle(("12", "12", "12", "14"), ".tar.zst", ("universal", "debian-12"))
DUNFELL = CacheStyle(("3",), ".tgz", ("universal",))


class GeneratedCache:
    """Makes up the files of one cache; the same arguments make the same files."""

    def __init__(self, style: CacheStyle, objects: int, seed: int) -> None:
        self._style = style
        self._objects = objects
        self._random = random.Random(seed)
        self._contents = Contents(seed)

    def files(self) -> Iterator[CacheFile]:
        """Every file that lies where bitbake put it; damaged ones and strays are elsewhere."""
        for number in range(self._objects):
            name, native = self._new_name(_TASKS)
            if number < _LONG_NAMES:
                name = _shortened(name)
            yield from self.object(name, native, signed=number % _OBJECTS_PER_SIGNED_ONE == 0)
        for _ in range(int(self._objects * _SIGNATURES_ALONE_PER_OBJECT)):
            name, native = self._new_name(_TASKS_WITHOUT_ARCHIVE)
            yield self._file(name, native, FileKind.SIGINFO, self._age_s())

    def object(self, name: ObjectName, native: str, *, signed: bool) -> Iterator[CacheFile]:
        """An archive and its companions; a few have lost their siginfo."""
        age_s = self._age_s()
        yield self._file(name, native, FileKind.ARCHIVE, age_s)
        if self._random.random() >= _SIGINFO_LOST_SHARE:
            yield self._file(name, native, FileKind.SIGINFO, age_s)
        if signed:
            yield self._file(name, native, FileKind.SIG, age_s)

    def spare_object(self) -> CacheFile:
        """One more archive, in its right place, to be harmed or moved by the caller."""
        name, native = self._new_name(_TASKS[-1:])
        return self._file(name, native, FileKind.ARCHIVE, self._age_s())

    def _new_name(self, tasks: tuple[str, ...]) -> tuple[ObjectName, str]:
        """A name that bitbake could have made, and the native directory it lies in."""
        pn, pv = self._random.choice(_RECIPES)
        task = self._random.choice(tasks)
        is_native = self._random.random() < _NATIVE_SHARE
        arch, target = _BUILD_HOST if is_native else self._random.choice(_MACHINES)
        name = ObjectName(
            pn=f"{pn}-native" if is_native else pn,
            target=target,
            pv=pv,
            pr="r0",
            arch=arch,
            version=self._random.choice(self._style.versions),
            hash=self._contents.hash(),
            task=task,
            extension=self._style.extension,
        )
        if task in _TASKS_WITH_EMPTY_FIELDS:
            return replace(name, target="", arch=""), ""
        return name, self._random.choice(self._style.natives) if is_native else ""

    def _file(self, name: ObjectName, native: str, kind: FileKind, age_s: int) -> CacheFile:
        path = f"{name.directory(native)}/{name.file_name_of(kind)}"
        if kind is FileKind.ARCHIVE:
            size_bytes = self._size(_MEDIAN_ARCHIVE_BYTES, 1.4, _LARGEST_ARCHIVE_BYTES)
            content = self._contents.archive(name.extension, name.pn, size_bytes)
        elif kind is FileKind.SIGINFO:
            size_bytes = self._size(_MEDIAN_SIGNATURE_BYTES, 0.4, _LARGEST_SIGNATURE_BYTES)
            content = self._contents.signature(name.pn, name.task, size_bytes)
        else:
            content = b"\x88\x75" + self._random.randbytes(117)
        return CacheFile(path, content, age_s)

    def _size(self, median_bytes: int, spread: float, largest_bytes: int) -> int:
        return min(largest_bytes, int(median_bytes * self._random.lognormvariate(0, spread)))

    def _age_s(self) -> int:
        """Most objects were used lately, some for the last time two months ago."""
        return int(OLDEST_DAYS * DAY_S * self._random.random() ** 2)


def _shortened(name: ObjectName) -> ObjectName:
    """The same object with a very long name, cut to the longest that bitbake writes."""
    bare = replace(name, pn=_LONG_PN, target="", pv="", pr="")
    room, rest = divmod(_LONGEST_ARCHIVE_NAME - len(bare.file_name), 3)
    pn = _LONG_PN + "-" * bool(rest) + "x" * (rest - 1)
    return replace(bare, pn=pn, target="t" * room, pv="6" * room, pr="r" * room)
