"""Progress bars on a terminal: objects, bytes, rate and time left, per pair and in all."""

from typing import NoReturn, TextIO

from tqdm import tqdm

from cachemig.core.events import CheckProgress, Event, ScanProgress, SyncPlanned, SyncProgress
from cachemig.core.outcomes import Amount
from cachemig.core.quoting import printable

tqdm.monitor_interval = 0  # no thread of its own; every bar is fed often enough

# No percentage: tqdm rounds 99.97 up to 100.
_BYTES_BAR = "{desc} |{bar}| {n_fmt}/{total_fmt} {rate_fmt}, {remaining} left, {postfix}"
_COUNT_BAR = "{desc} |{bar}| {n_fmt}/{total_fmt} objects, {rate_fmt}, {remaining} left"
_COUNTER = "{desc} [{elapsed}]"

_TOTAL = "in all"


class Progress:
    """Draws bars for what is going on; the last state stays on the screen when closed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._bars: dict[str, tqdm[NoReturn]] = {}
        self._planned: dict[str, Amount] = {}
        self._done: dict[str, Amount] = {}

    def tell(self, event: Event) -> None:
        """Draw what an event changes; events that are no progress change nothing."""
        match event:
            case SyncPlanned(source=source, destination=destination):
                pair = f"{source} -> {destination}"
                amount = Amount(event.objects, event.size_bytes)
                self._planned[pair] = self._planned.get(pair, Amount()).plus(amount)
            case SyncProgress(source=source, destination=destination):
                pair = f"{source} -> {destination}"
                self._done[pair] = Amount(event.objects, event.size_bytes)
                self._draw_sync(pair)
            case ScanProgress():
                self._bar(event.server, _COUNTER).set_description_str(printable(str(event)))
            case CheckProgress():
                bar = self._bar(event.server, _COUNT_BAR)
                bar.total = event.objects_planned
                bar.update(event.objects - bar.n)
            case _:
                pass

    def write(self, line: str) -> None:
        """Print a line above the bars."""
        tqdm.write(line, file=self._stream)

    def close(self) -> None:
        """Leave the bars as they are and end their lines."""
        for bar in self._bars.values():
            bar.close()
        self._bars.clear()

    def _draw_sync(self, pair: str) -> None:
        if len(self._planned) > 1:
            self._draw_amount(pair, self._done[pair], self._planned.get(pair, Amount()))
        done, planned = Amount(), Amount()
        for amount in self._done.values():
            done = done.plus(amount)
        for amount in self._planned.values():
            planned = planned.plus(amount)
        self._draw_amount(_TOTAL, done, planned)

    def _draw_amount(self, name: str, done: Amount, planned: Amount) -> None:
        bar = self._bar(name, _BYTES_BAR)
        bar.total = planned.size_bytes
        bar.set_postfix_str(f"{done.objects:,}/{planned.objects:,} objects", refresh=False)
        bar.update(done.size_bytes - bar.n)

    def _bar(self, name: str, bar_format: str) -> "tqdm[NoReturn]":
        if name not in self._bars:
            bar: tqdm[NoReturn] = tqdm(
                desc=printable(name),
                total=0,
                unit="B" if bar_format is _BYTES_BAR else "",
                unit_scale=bar_format is _BYTES_BAR,
                unit_divisor=1024,
                bar_format=bar_format,
                file=self._stream,
                dynamic_ncols=True,
            )
            self._bars[name] = bar
        return self._bars[name]
