"""An agent under strace: what it asked of the kernel in which order, and calls that are broken."""

import itertools
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cachemig.agent.root import OwnFiles
from cachemig.agent.tree import Tree
from cachemig.errors import CachemigError
from cachemig.stores.base import FileReceipt
from tests.stores.ways import Way, local_argv, wanted_file

_LINE = re.compile(r"(?P<pid>\d+) +(?P<rest>.*)")
_BEGUN = re.compile(r"(?P<name>\w+)\((?P<text>.*)")
_RESUMED = re.compile(r"<\.\.\. (?P<name>\w+) resumed>(?P<text>.*)")
_TEMP = re.compile(r'\.cm-[^">]+')
_LOOK_INTERVAL_S = 0.01
_numbers = itertools.count()


class Call(NamedTuple):
    """One system call: its begin and end are places in the log, so that order can be proved."""

    name: str
    text: str
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Trace:
    """What strace wrote."""

    log: Path

    @property
    def calls(self) -> list[Call]:
        """Every call, in the order in which they began."""
        begun: dict[str, tuple[str, str, int]] = {}
        found: list[Call] = []
        for number, line in enumerate(self._lines()):
            match = _LINE.fullmatch(line)
            assert match, line
            rest = match["rest"]
            if resumed := _RESUMED.fullmatch(rest):
                name, text, begin = begun.pop(match["pid"])
                found.append(Call(name, text + resumed["text"], begin, number))
            elif begin_of := _BEGUN.fullmatch(rest):
                text = begin_of["text"]
                if text.endswith("<unfinished ...>"):
                    begun[match["pid"]] = (begin_of["name"], text, number)
                else:
                    found.append(Call(begin_of["name"], text, number, number))
        return sorted(found, key=lambda call: call.begin)

    def named(self, *names: str) -> list[Call]:
        """The calls of these names that succeeded."""
        return [c for c in self.calls if c.name in names and " = -1 " not in c.text]

    @property
    def struck(self) -> bool:
        """Whether a call was broken on purpose."""
        text = self.log.read_text(errors="replace")
        return "(INJECTED)" in text or "killed by SIGKILL" in text

    def _lines(self) -> list[str]:
        return self.log.read_text(errors="replace").splitlines()


def temp_of(link: Call) -> str:
    """The name of the temp that a call links or renames."""
    match = _TEMP.search(link.text)
    assert match, link
    return match[0]


@dataclass(slots=True)
class Destination:
    """A root whose agent runs under strace; files come to it from a plain folder."""

    source: Path
    root: Path
    log: Path

    def bring(self, paths: Sequence[str], *options: str) -> dict[str, FileReceipt]:
        """Send files as one batch; what was acknowledged before the agent died, if it did.

        With options for strace, the agent runs under it.
        """
        strace = ("strace", "-f", "-qq", "-s", "200", "-o", str(self.log), *options)
        argv = (*(strace if options else ()), *local_argv(sys.executable))
        way = Way.local("here", sys.executable)
        traced = way.rooted(self.root)._replace(argv=argv)
        acknowledged: dict[str, FileReceipt] = {}
        try:
            lane = way.lane(
                way.rooted(self.source), self.root, dial_source=False, destination=traced
            )
        except CachemigError:
            return acknowledged
        try:
            lane.send([wanted_file(path) for path in paths], 0)
            for answer in lane.answers():
                acknowledged |= {receipt.path: receipt for receipt in answer.receipts or ()}
        except CachemigError:
            pass
        finally:
            lane.close()
        return acknowledged

    @contextmanager
    def when(self, shows: Callable[[str], bool], act: Callable[[], object]) -> Iterator[None]:
        """Act once, as soon as a line of the log shows that it is time; it must come."""
        done, over = threading.Event(), threading.Event()

        def watch() -> None:
            while not over.wait(_LOOK_INTERVAL_S):
                if self.log.exists() and any(map(shows, self.log.read_text().splitlines())):
                    act()
                    done.set()
                    return

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()
        assert done.is_set(), "it was never time"

    @property
    def trace(self) -> Trace:
        """What the last agent did."""
        return Trace(self.log)

    def sweep(self) -> int:
        """Remove what dead agents left, as the next holder of the root does."""
        return OwnFiles(Tree(str(self.root))).sweep_temps()

    def receipts(self) -> dict[str, str]:
        """Digest by path, as the receipts at the root have them."""
        found = OwnFiles(Tree(str(self.root))).receipts()
        return {receipt["path"]: receipt["sha256"] for receipt in found}


def new_destination(folder: Path) -> Destination:
    """A fresh root, and an old one to fill."""
    place = folder / f"place-{next(_numbers)}"
    for name in ("old", "new"):
        (place / name).mkdir(parents=True)
    return Destination(place / "old", place / "new", place / "strace.log")
