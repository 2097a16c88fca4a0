"""Progress bars on a terminal: objects, bytes, rate and time left, per pair and in all."""

import os
from typing import NoReturn, TextIO

from tqdm import tqdm

from cachemig.core.events import CheckProgress, Event, ScanProgress, SyncPlanned, SyncProgress
from cachemig.core.quoting import printable
from cachemig.report.amounts import SyncAmounts

tqdm.monitor_interval = 0  # no thread of its own; every bar is fed often enough

# No percentage: tqdm rounds 99.97 up to 100.
_SENDING = "{desc} |{bar}| {n_fmt}/{total_fmt} {rate_fmt}, {remaining} left{postfix}"
_NOT_YET = "{desc} |{bar}| {n_fmt}/{total_fmt}{postfix}"
_NOTHING = "{desc}{postfix}, nothing to send"
_CHECKING = "{desc} |{bar}| {n_fmt}/{total_fmt} files, {rate_fmt}, {remaining} left"
_COUNTER = "{desc} [{elapsed}]"
_ELAPSED_COLUMNS = 12

_TOTAL = "in all"
_ERASE_FROM_HERE = "\r\x1b[J"


class Progress:
    """Draws bars below all lines for what is going on; nothing of them stays when cleared."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._bars: dict[str, tqdm[NoReturn]] = {}
        self._amounts = SyncAmounts()

    def tell(self, event: Event) -> None:
        """Draw what an event changes; events that are no progress change nothing."""
        self._amounts.take(event)
        match event:
            case SyncPlanned():
                self.clear()
            case SyncProgress():
                self._draw_sync(f"{event.source} -> {event.destination}")
            case ScanProgress():
                text = printable(str(event))[: self._columns() - _ELAPSED_COLUMNS]
                self._bar(event.server, _COUNTER).set_description_str(text)
            case CheckProgress():
                bar = self._bar(f"checking {event.server}", _CHECKING)
                bar.total = event.files_planned
                bar.update(event.files - bar.n)
                bar.refresh()
            case _:
                pass

    def write(self, line: str) -> None:
        """Print a line above the bars."""
        if self._bars:
            line = _ERASE_FROM_HERE + line  # also what the terminal itself wrote there, as ^C
        tqdm.write(line, file=self._stream)
        self._stream.flush()

    def clear(self) -> None:
        """Take the bars off the screen; what is told from now on draws new ones."""
        if self._bars:
            for bar in self._bars.values():
                bar.close()
            self._bars.clear()
            self._stream.write(_ERASE_FROM_HERE)
            self._stream.flush()

    def _draw_sync(self, pair: str) -> None:
        pairs = self._amounts.pairs
        if len(pairs) > 1:
            self._draw_amount(pair, (pair,))
        self._draw_amount(_TOTAL, pairs)

    def _draw_amount(self, name: str, pairs: tuple[str, ...]) -> None:
        done, planned = self._amounts.objects(*pairs), self._amounts.planned(*pairs)
        bar = self._bar(name, _NOT_YET)
        bar.total = planned.size_bytes
        bar.set_postfix_str(f"{done.objects:,}/{planned.objects:,} objects", refresh=False)
        bar.update(min(done.size_bytes, planned.size_bytes) - bar.n)
        bar.bar_format = (_SENDING if bar.n else _NOT_YET) if bar.total else _NOTHING
        bar.refresh()

    def _bar(self, name: str, bar_format: str) -> "tqdm[NoReturn]":
        if name not in self._bars:
            in_bytes = bar_format is _NOT_YET
            bar: tqdm[NoReturn] = tqdm(
                desc=printable(name),
                total=0,
                unit="B" if in_bytes else "",
                unit_scale=in_bytes,
                unit_divisor=1024,
                bar_format=bar_format,
                file=self._stream,
                dynamic_ncols=True,
                leave=False,
            )
            self._bars[name] = bar
        return self._bars[name]

    def _columns(self) -> int:
        return os.get_terminal_size(self._stream.fileno()).columns or 80
