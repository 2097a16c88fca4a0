"""docs/messages.md explains every error, exit code and outcome, and nothing that is not."""

import re
from pathlib import Path

import pytest

from cachemig import errors
from cachemig.agent.protocol import Outcome
from cachemig.core.outcomes import Tally, exit_code
from cachemig.errors import AccessError, CachemigError, ExitCode, NoSpaceError, most_severe, worst

PAGE = (Path(__file__).parents[1] / "docs" / "messages.md").read_text(encoding="utf-8")
KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, CachemigError)
]


def rows(title):
    """The cells of the table below a heading, without its head."""
    section = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def test_every_error_has_a_heading_and_every_heading_an_error():
    """`more: docs/messages.md#slug` leads somewhere."""
    assert sorted(re.findall(r"^### (.*)$", PAGE, re.MULTILINE)) == sorted(k.slug for k in KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_is_explained_in_sentences(kind):
    """A heading alone helps nobody."""
    text = PAGE.split(f"### {kind.slug}\n")[1].split("\n### ")[0]

    assert len(text.split()) > 20


def test_the_table_of_exit_codes_is_complete():
    """Numbers and names are those of the program."""
    told = {int(code): name for code, name, _ in rows("Exit codes")}

    assert told == {int(code): code.name.lower() for code in ExitCode}


def test_the_order_of_severity_is_the_programs():
    """Of two codes, the one that stands first is given."""
    text = re.search(r"signal, ([\d, \n]+?) in this", PAGE)
    assert text
    codes = [ExitCode(int(number)) for number in re.findall(r"\d+", text[1])]

    for place, severe in enumerate(codes):
        assert all(worst([severe, mild]) is severe for mild in codes[place:])
        assert worst([severe, ExitCode.TERMINATED]) is ExitCode.TERMINATED
    assert len(codes) == len(ExitCode) - 3


def test_of_several_errors_the_most_severe_ends_a_run():
    """The first one, of those with the same code."""
    found = most_severe([AccessError("one"), NoSpaceError("two"), NoSpaceError("three")])
    assert found.exit_code is worst([ExitCode.ACCESS, ExitCode.NO_SPACE])
    assert found.what == ("two" if found.exit_code is ExitCode.NO_SPACE else "one")


def test_the_table_of_outcomes_is_complete():
    """Each outcome has the exit code that one object of it causes."""
    told = {name: int(code.split(",")[0]) for name, _, code in rows("Outcomes of objects")}

    assert told == {outcome.value: int(exit_code(Tally.of(outcome))) for outcome in Outcome}
