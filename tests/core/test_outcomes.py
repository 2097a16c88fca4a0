"""Tallies add up, close over the plan, and are worth one exit code."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachemig.agent.protocol import Outcome
from cachemig.core.outcomes import Amount, Tally, exit_code
from cachemig.errors import ExitCode, worst

amounts = st.builds(Amount, st.integers(0, 10**9), st.integers(0, 10**15))
tallies = st.builds(Tally, st.dictionaries(st.sampled_from(Outcome), amounts))


def same(one, other):
    """Compare outcome by outcome."""
    return all(one[outcome] == other[outcome] for outcome in Outcome)


@given(tallies, tallies, tallies)
def test_tallies_add_up_in_any_order(one, two, three):
    """Partial results of lanes may come together in any order."""
    assert same(one + two, two + one)
    assert same((one + two) + three, one + (two + three))
    assert same(one + Tally(), one)
    assert (one + two).total == one.total.plus(two.total)


@given(tallies, amounts)
def test_the_outcomes_add_up_to_the_plan(tally, planned):
    """Every planned object has exactly one outcome when the run ends."""
    missing_bytes = max(0, planned.size_bytes - tally.total.size_bytes)

    completed = tally.completed(planned)

    assert completed.total.objects == max(planned.objects, tally.total.objects)
    assert completed.total.size_bytes == tally.total.size_bytes + missing_bytes
    assert same(completed.completed(planned), completed)


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Outcome.PUBLISHED, ExitCode.OK),
        (Outcome.PRESENT, ExitCode.OK),
        (Outcome.FOREIGN, ExitCode.OK),
        (Outcome.VANISHED, ExitCode.SOURCE_MOVED),
        (Outcome.CHANGED, ExitCode.SOURCE_MOVED),
        (Outcome.DAMAGED, ExitCode.INTEGRITY),
        (Outcome.REJECTED, ExitCode.PARTIAL),
        (Outcome.FAILED, ExitCode.PARTIAL),
        (Outcome.NOT_ATTEMPTED, ExitCode.PARTIAL),
    ],
)
def test_each_outcome_has_its_exit_code(outcome, code):
    """One object is enough."""
    assert exit_code(Tally.of(outcome)) == code
    assert exit_code(Tally.of(outcome, objects=0)) == ExitCode.OK


@given(tallies, tallies)
def test_the_worse_of_two_tallies_decides(one, other):
    """No good outcome makes up for a bad one."""
    assert exit_code(one + other) == worst([exit_code(one), exit_code(other)])


def test_what_stopped_the_run_says_more_than_what_was_not_attempted():
    """A limit stays a limit though it left objects; a failed object is still told."""
    left = Tally.of(Outcome.NOT_ATTEMPTED, 5)

    assert exit_code(left, ExitCode.LIMIT) == ExitCode.LIMIT
    assert exit_code(left + Tally.of(Outcome.FAILED), ExitCode.LIMIT) == ExitCode.PARTIAL
    assert exit_code(Tally.of(Outcome.FAILED), ExitCode.NO_SPACE) == ExitCode.NO_SPACE
