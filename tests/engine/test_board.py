"""The board loses no batch, and ends exactly when all are settled."""

import random
import threading
from collections import Counter, deque

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cachemig.engine.batches import BATCH_BYTES, Batch
from cachemig.engine.board import Board

LIMIT = 3
WAIT_S = 30.0


class BoardMachine(RuleBasedStateMachine):
    """Any order of what an asker and its lanes may do, against a plain list."""

    def __init__(self) -> None:
        super().__init__()
        self.board = Board(LIMIT)
        self.waiting: deque[Batch] = deque()
        self.taken: list[Batch] = []
        self.closed = self.stopped = False

    @precondition(lambda self: not self.closed and (self.stopped or len(self.waiting) < LIMIT))
    @rule(size_bytes=st.sampled_from([0, BATCH_BYTES, BATCH_BYTES + 1]))
    def put(self, size_bytes: int) -> None:
        """The asker has one more; a large object is the next to go."""
        batch = Batch(size_bytes=size_bytes)
        self.board.put(batch)
        if size_bytes > BATCH_BYTES:
            self.waiting.appendleft(batch)
        else:
            self.waiting.append(batch)

    @rule()
    def take(self) -> None:
        """A lane wants one; the order is kept."""
        batch = self.board.take(wait=False)
        if self.stopped or not self.waiting:
            assert batch is None
        else:
            assert batch is self.waiting.popleft()
            self.taken.append(batch)

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        """A lane broke; its batches come first again, in their order, however full it is."""
        number = data.draw(st.integers(1, len(self.taken)))
        back, self.taken = self.taken[:number], self.taken[number:]
        self.board.give_back(back)
        self.waiting.extendleft(reversed(back))

    @precondition(lambda self: self.taken)
    @rule()
    def settle(self) -> None:
        """A batch was acknowledged."""
        self.taken.pop()
        self.board.settle()

    @rule()
    def close(self) -> None:
        """The asker has no more."""
        self.board.close()
        self.closed = True

    @precondition(lambda self: len(self.taken) > 1)
    @rule()
    def stop(self) -> None:
        """A signal, or a server that gave out."""
        self.board.stop()
        self.stopped = True

    @invariant()
    def nothing_is_lost(self) -> None:
        """What is open waits or is taken; it is over exactly when it must be."""
        assert self.board.waiting == len(self.waiting)
        assert self.board.open == len(self.waiting) + len(self.taken)
        done = self.closed and not self.waiting and not self.taken
        assert self.board.over == (self.stopped or done)
        assert self.board.wait_until_over(0) == self.board.over


TestBoard = BoardMachine.TestCase
TestBoard.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


@given(seed=st.integers(0, 2**32), lanes=st.integers(1, 6), batches=st.integers(0, 60))
@settings(max_examples=30, deadline=None)
def test_many_lanes_settle_every_batch_once(seed: int, lanes: int, batches: int):
    """However often they break, and however late they come; then all of them end."""
    board, settled, lock = Board(LIMIT), Counter[int](), threading.Lock()
    made = [Batch() for _ in range(batches)]
    numbers = {id(batch): number for number, batch in enumerate(made)}

    def lane(number: int) -> None:
        dice = random.Random(seed + number)
        while (batch := board.take(wait=True)) is not None:
            if dice.random() < 0.3:
                board.give_back([batch])
                continue
            with lock:
                settled[numbers[id(batch)]] += 1
            board.settle()

    threads = [
        threading.Thread(target=lane, args=(number,), daemon=True) for number in range(lanes)
    ]
    for thread in threads:
        thread.start()
    for batch in made:
        board.put(batch)
    board.close()

    assert board.wait_until_over(WAIT_S)
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()
    assert settled == Counter(range(batches))


def test_stopping_wakes_everybody():
    """An asker before a full board, lanes before an empty one, and whoever waits for the end."""
    full, empty = Board(1), Board(1)
    full.put(Batch())
    waits = [
        lambda: full.put(Batch()),
        lambda: full.wait_until_over(None),
        lambda: empty.take(wait=True),
        lambda: empty.wait_until_over(None),
    ]
    threads = [threading.Thread(target=wait, daemon=True) for wait in waits]
    for thread in threads:
        thread.start()

    full.stop()
    empty.stop()

    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()
    assert full.take(wait=True) is None


def test_an_empty_plan_is_over_when_it_is_closed():
    """Nobody waits for lanes that were never opened."""
    board = Board(LIMIT)
    assert not board.over
    board.close()
    assert board.wait_until_over(WAIT_S)
    assert board.take(wait=True) is None
