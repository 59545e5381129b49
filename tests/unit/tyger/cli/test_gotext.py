"""Go's spellings: tables of what its documentation says."""

import pytest

from tyger.cli import gotext


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", '""'),
        ("a b", '"a b"'),
        ('a"b', '"a\\"b"'),
        ("a\\b", '"a\\\\b"'),
        ("ü", '"ü"'),
        ("\x1b[1m\n\r\t\a\b\f\v", '"\\x1b[1m\\n\\r\\t\\a\\b\\f\\v"'),
        ("\x7f\x00", '"\\x7f\\x00"'),
        ("\u200b\u2028", '"\\u200b\\u2028"'),
        ("\U000e0001", '"\\U000e0001"'),
        ("\udcff", '"\\xff"'),
    ],
)
def test_quoted_text(text, shown):
    assert gotext.quote(text) == shown


def test_a_line_stays_one():
    assert gotext.one_line('a "b" ü') == 'a "b" ü'
    assert gotext.one_line('a\n"b"\x1b') == 'a\\n"b"\\x1b'


@pytest.mark.parametrize("text", ["1", "t", "T", "true", "True", "TRUE"])
def test_true(text):
    assert gotext.truth(text) is True


@pytest.mark.parametrize("text", ["0", "f", "F", "false", "False", "FALSE"])
def test_false(text):
    assert gotext.truth(text) is False


@pytest.mark.parametrize("text", ["", "yes", "tRUE", "2", " true"])
def test_neither(text):
    with pytest.raises(ValueError, match="is neither true nor false"):
        gotext.truth(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("7", 7),
        ("-1", -1),
        ("+5", 5),
        ("010", 8),
        ("0o10", 8),
        ("0x1F", 31),
        ("0b11", 3),
        ("1_000", 1000),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
    ],
)
def test_whole_numbers(text, value):
    assert gotext.whole(text) == value


@pytest.mark.parametrize("text", ["", "-", "many", "1.5", " 1", "1 ", "08", "0x", "1__0", "_1", "\u0661"])
def test_what_is_no_whole_number(text):
    with pytest.raises(ValueError, match="is not a whole number"):
        gotext.whole(text)


@pytest.mark.parametrize("text", ["9223372036854775808", "-9223372036854775809", "9" * 10_000])
def test_a_number_of_more_than_64_bits(text):
    with pytest.raises(ValueError, match="is out of range"):
        gotext.whole(text)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("a", ["a"]),
        ("a,b", ["a", "b"]),
        ("a,", ["a", ""]),
        (",", ["", ""]),
        (" a , b", [" a ", " b"]),
        ('"a,b",c', ["a,b", "c"]),
        ('"a""b"', ['a"b']),
        ('""', [""]),
        ('"a\nb",c', ["a\nb", "c"]),
        ("a,b\nc,d", ["a", "b"]),
        ("a,b\r\nc", ["a", "b"]),
        ("ü,x", ["ü", "x"]),
    ],
)
def test_csv_records(text, fields):
    assert gotext.csv_record(text) == fields


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('a"b', 'parse error on line 1, column 2: bare " in non-quoted field'),
        ('x,üa"b', 'parse error on line 1, column 6: bare " in non-quoted field'),
        ('"a"b', 'parse error on line 1, column 3: extraneous or missing " in quoted-field'),
        ('"a', 'parse error on line 1, column 3: extraneous or missing " in quoted-field'),
    ],
)
def test_misplaced_quotes(text, why):
    with pytest.raises(ValueError, match="parse error") as caught:
        gotext.csv_record(text)
    assert str(caught.value) == why


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("10kB", "units: unknown unit kB in 10kB"),
        ("10 MB", "units: unknown unit  MB in 10 MB"),
        ("B", "units: invalid B"),
        ("x", "units: invalid x"),
        ("", "units: invalid "),
        (".B", "units: invalid .B"),
        ("10", "units: missing unit in 10"),
        ("-1MB2", "units: missing unit in -1MB2"),
    ],
)
def test_what_is_wrong_with_a_size(text, why):
    assert gotext.size_complaint(text, ("B", "MB")) == why


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("5", 'time: missing unit in duration "5"'),
        ("5x", 'time: unknown unit "x" in duration "5x"'),
        ("1h5", 'time: missing unit in duration "1h5"'),
        ("", 'time: invalid duration ""'),
        ("soon", 'time: invalid duration "soon"'),
        (".s", 'time: invalid duration ".s"'),
        ("-", 'time: invalid duration "-"'),
        ("1 h", 'time: unknown unit " h" in duration "1 h"'),
    ],
)
def test_what_is_wrong_with_a_duration(text, why):
    assert gotext.duration_complaint(text, ("s", "m", "h")) == why
