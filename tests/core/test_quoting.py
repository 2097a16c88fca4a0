"""What is printed can do no harm, and what is stored comes back as it was."""

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachemig.core.quoting import escape_path, printable, unescape_path
from cachemig.errors import FormatError

any_text = st.text(st.characters(codec=None))  # lone surrogates too


@given(any_text)
def test_nothing_printed_acts_on_a_terminal(text):
    """No control, format, surrogate or line-separating character is left."""
    shown = printable(text)

    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    shown.encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sstate:gtk+3:é", "sstate:gtk+3:é"),
        ("a\nb\r", r"a\nb\r"),
        ("\x1b]52;c;evil\x07", r"\x1b]52;c;evil\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("gpj\u202eexe", r"gpj\u202eexe"),
        ("a\u2028b", r"a\u2028b"),
        ("bad\udcff", r"bad\udcff"),
        (r"C:\plain", r"C:\plain"),
    ],
)
def test_only_what_can_not_be_seen_is_escaped(text, shown):
    """Ordinary text, in whatever language, is printed as it is."""
    assert printable(text) == shown


@given(any_text)
def test_a_stored_path_comes_back_as_it_was(path):
    """Escaping gives valid UTF-8 and loses nothing."""
    escaped = escape_path(path)

    escaped.encode()
    assert not {"\r", "\n", "\0"} & set(escaped)
    assert unescape_path(escaped) == path


@given(st.binary())
def test_any_name_that_a_file_system_gives_can_be_stored(name):
    """The bytes of a name survive the way through a string and back."""
    stored = escape_path(os.fsdecode(name)).encode()

    assert os.fsencode(unescape_path(stored.decode())) == name


@given(st.sets(any_text, min_size=2))
def test_two_paths_never_share_a_stored_form(paths):
    """The stored form is a key, so it must be unique."""
    assert len({escape_path(path) for path in paths}) == len(paths)


def test_a_byte_that_is_not_utf8_is_stored_as_its_value():
    """The form that docs/formats.md promises."""
    assert escape_path(os.fsdecode(b"a\\b\xff\n")) == r"a\\b\xff\u000a"


@pytest.mark.parametrize("text", ["\\", "a\\q", "\\xZZ", "\\u12"])
def test_a_stored_path_that_we_did_not_write_is_refused(text):
    """A damaged file is found, not guessed at."""
    with pytest.raises(FormatError, match="backslash"):
        unescape_path(text)
