"""What a terminal shows in the end: as much of one as the program makes use of."""

import re

_ESCAPE = re.compile(r"\x1b\[(\d*)([A-Za-z])")


class Screen:
    """Lines of a terminal that is long enough never to scroll."""

    def __init__(self, columns: int = 100) -> None:
        self._columns = columns
        self._rows = [""]
        self._row = self._column = 0

    def feed(self, text: str) -> "Screen":
        """Take in what a program wrote."""
        at = 0
        while at < len(text):
            escape = _ESCAPE.match(text, at)
            if escape:
                self._perform(escape[2], int(escape[1] or 0))
                at = escape.end()
            else:
                self._put(text[at])
                at += 1
        return self

    @property
    def lines(self) -> list[str]:
        """What stands there, without trailing space and empty lines."""
        return [row.rstrip() for row in self._rows if row.strip()]

    def _perform(self, what: str, count: int) -> None:
        if what == "A":
            self._row = max(0, self._row - max(1, count))
        elif what in {"K", "J"}:
            self._rows[self._row] = self._rows[self._row][: self._column]
            if what == "J":
                del self._rows[self._row + 1 :]
        elif what != "m":
            raise AssertionError(f"an escape that is not known here: {what}")

    def _put(self, character: str) -> None:
        if character == "\r":
            self._column = 0
        elif character == "\n":
            self._go_down()
        else:
            if self._column == self._columns:
                self._go_down()
                self._column = 0
            row = self._rows[self._row].ljust(self._column)
            self._rows[self._row] = row[: self._column] + character + row[self._column + 1 :]
            self._column += 1

    def _go_down(self) -> None:
        self._row += 1
        if self._row == len(self._rows):
            self._rows.append("")
