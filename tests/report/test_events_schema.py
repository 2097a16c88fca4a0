"""Whatever is told is printed as one valid line of JSON that the shipped schema describes."""

import json
from base64 import b64decode
from datetime import UTC, datetime
from importlib.resources import files

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachemig.agent.protocol import Outcome
from cachemig.core import events
from cachemig.core.events import Event, Row, RunEnded, RunStarted
from cachemig.core.outcomes import Amount, Tally
from cachemig.report.json_lines import MAX_LINE_BYTES, json_line

SCHEMA = json.loads((files("cachemig.report") / "events.schema.json").read_text("utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
NOW = datetime(2026, 11, 23, 2, 3, 4, 567_890, tzinfo=UTC)

texts = st.text(st.characters(), max_size=40) | st.binary(max_size=20).map(
    lambda raw: raw.decode("utf-8", "surrogateescape")
)
digests = st.sampled_from(["", "0" * 64])
counts = st.integers(0, 2**63)
amounts = st.builds(Amount, counts, counts)
tallies = st.builds(Tally, st.dictionaries(st.sampled_from(Outcome), amounts))
values = st.dictionaries(texts, texts | counts | st.none() | st.booleans() | st.lists(texts))
SPECIAL = {
    RunStarted: st.builds(
        RunStarted, texts, texts, st.lists(texts).map(tuple), st.just({"cachemig.toml": "0" * 64})
    ),
    RunEnded: st.builds(RunEnded, planned=amounts, tally=tallies, resume_command=texts),
    Row: st.builds(Row, texts, values),
}
KINDS = [
    kind
    for kind in vars(events).values()
    if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
]


def any_of(kind):
    """Events of one class with any field a type allows."""
    if kind in SPECIAL:
        return SPECIAL[kind]
    fields: dict[str, st.SearchStrategy[object]] = {}
    for name, hint in kind.__annotations__.items():
        if name == "sha256":
            fields[name] = digests
        elif hint in {str, int}:
            fields[name] = texts if hint is str else counts
    return st.builds(kind, **fields)


def line_of(event):
    """Print an event as the program does."""
    return json_line(event, NOW)


def strict_loads(line):
    """Read JSON, refusing what JSON does not have."""
    return json.loads(line.decode("utf-8"), parse_constant=pytest.fail)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.type)
@settings(max_examples=30)
@given(data=st.data())
def test_every_event_prints_a_line_that_the_schema_describes(kind, data):
    """One line, valid UTF-8 without surrogates, at most 64 KiB, valid by the schema."""
    line = line_of(data.draw(any_of(kind)))

    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert len(line) <= MAX_LINE_BYTES
    read = strict_loads(line)
    json.dumps(read, ensure_ascii=False).encode("utf-8")
    VALIDATOR.validate(read)
    assert read["time"] == "2026-11-23T02:03:04.567Z"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.type)
@settings(max_examples=30)
@given(data=st.data())
def test_every_event_can_be_said_in_words(kind, data):
    """The text form never fails, whatever the names are."""
    assert isinstance(str(data.draw(any_of(kind))), str)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.type)
@settings(max_examples=30)
@given(data=st.data())
def test_the_schema_names_every_field(kind, data):
    """A field that is printed is described, and a field that is described is printed."""
    described = SCHEMA["$defs"][kind.type]

    printed = {name for name in data.draw(any_of(kind)).as_json() if not name.endswith("_b64")}

    assert printed == {"type", *described["required"]}
    assert set(described["required"]) <= set(described["properties"])


@given(st.binary(max_size=60))
def test_a_path_that_is_not_utf8_can_be_got_back(raw):
    """`path` is readable text, and `path_b64` holds the bytes when `path` can not."""
    path = raw.decode("utf-8", "surrogateescape")
    event = events.ObjectDone(path, "default", "nfs-1", Outcome.FAILED, 0)

    read = strict_loads(line_of(event))

    if "path_b64" in read:
        assert b64decode(read["path_b64"]) == raw
    else:
        assert read["path"].encode() == raw


def test_what_is_no_number_is_null():
    """JSON has neither NaN nor infinity."""
    row = Row("totals", {"a": float("nan"), "b": [float("inf"), 0.5]})

    assert strict_loads(line_of(row))["values"] == {"a": None, "b": [None, 0.5]}


def test_a_line_that_would_be_too_long_is_cut_visibly():
    """Long texts and long lists are shortened; what is left is still a valid line."""
    long_text = events.Notice("x" * 200_000)
    long_argv = RunStarted("run", "1", ("y" * 3000,) * 1000, {})

    for event in (long_text, long_argv):
        line = line_of(event)
        assert len(line) <= MAX_LINE_BYTES
        VALIDATOR.validate(strict_loads(line))
        assert "…" in json.dumps(strict_loads(line), ensure_ascii=False)


def test_a_wrong_line_is_refused_by_the_schema():
    """The schema does say no."""
    read = strict_loads(line_of(events.ObjectDone("p", "c", "s", Outcome.PUBLISHED, 1)))

    for wrong in ({"outcome": "copied"}, {"size_bytes": 1.5}, {"time": "yesterday"}):
        with pytest.raises(jsonschema.ValidationError):
            VALIDATOR.validate(read | wrong)
