"""YAML 1.1 against a table of fields: what becomes of each scalar, and how each mistake is told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tyger import errors
from tyger.cli import yamlfile

SHAPE = yamlfile.record(
    {
        "word": yamlfile.text,
        "strict": yamlfile.strict_text,
        "count": yamlfile.integer,
        "amount": yamlfile.quantity,
        "list": yamlfile.list_of(yamlfile.text),
        "map": yamlfile.map_of(yamlfile.text),
        "inner": yamlfile.record({"word": yamlfile.text, "deep": yamlfile.list_of(yamlfile.integer)}),
        "either": yamlfile.text_or(yamlfile.record({"a": yamlfile.text})),
        "kind": yamlfile.choice("job", "worker"),
        "theirs": yamlfile.ignored,
    }
)


@pytest.fixture
def read(tmp_path):
    def call(text):
        path = tmp_path / "x.yml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return yamlfile.read(str(path), "file", SHAPE)

    return call


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("abc", "abc"),
        ("1", "1"),
        ("'1'", "1"),
        ("010", "8"),
        ("0x1F", "31"),
        ("0b11", "3"),
        ("-1_000", "-1000"),
        ("0", "0"),
        ("1.10", "1.1"),
        ("1.0", "1"),
        ("100000000000000000000.0", "100000000000000000000"),
        ("1.5e+3", "1500"),
        ("1.0e-7", "1e-07"),
        (".inf", ".inf"),
        ("yes", "true"),
        ("Off", "false"),
        ("12:30", "12:30"),
        ("190:20:30.15", "190:20:30.15"),
        ("2026-01-02", "2026-01-02"),
        ("=", "="),
        ("''", ""),
        ("|\n  a\n  b\n", "a\nb\n"),
        ("!!str 5", "5"),
    ],
)
def test_scalars_where_text_is_expected(read, written, value):
    assert read(f"word: {written}") == {"word": value}


def test_nulls(read):
    assert read("word:\ncount: ~\nlist: null") == {}
    assert read("map: {a: , b: ~}\nlist: [~]") == {"map": {"a": "", "b": ""}, "list": [""]}


def test_an_empty_file_is_an_empty_mapping(read):
    assert read("") == read("# nothing\n") == read("---\n") == {}


def test_the_rest(read):
    assert read(
        "count: 07\namount: 1.5\nlist: [1, b]\nmap: {1: yes}\ninner: {deep: [1, 2]}\neither: x\nkind: job\n"
        "theirs: [{}]\nstrict: x"
    ) == {
        "count": 7,
        "amount": "1.5",
        "list": ["1", "b"],
        "map": {"1": "true"},
        "inner": {"deep": [1, 2]},
        "either": "x",
        "kind": "job",
        "strict": "x",
    }


def test_letter_case_may_differ(read):
    assert read("Word: a\nINNER: {DEEP: [1]}") == {"word": "a", "inner": {"deep": [1]}}


def test_anchors_and_merges(read):
    assert read("map: &m {a: 1, b: 2}\ninner: &i {word: x}\n") == {
        "map": {"a": "1", "b": "2"},
        "inner": {"word": "x"},
    }
    text = "theirs: &base {a: 1, b: 2}\nmap:\n  <<: *base\n  b: 3\n"
    assert read(text) == {"map": {"a": "1", "b": "3"}}
    assert read("theirs: [&x {a: 1}, &y {a: 2, b: 2}]\nmap: {<<: [*x, *y]}") == {"map": {"a": "1", "b": "2"}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("word: a\nwrod: b", 'line 2: unknown field "wrod" (did you mean word?)'),
        ("inner:\n  word: a\n  zzz: b", 'line 3: inner: unknown field "zzz"'),
        ("word: a\nword: b", "line 2: word: duplicate key, first on line 1"),
        ("word: a\n\nWord: b", "line 3: word: duplicate field, first on line 1"),
        ("map:\n  a: 1\n  a: 2", "line 3: map.a: duplicate key, first on line 2"),
        ("word: [a]", "line 1: word: expected text, found a list"),
        ("list:\n  - a\n  - b: c", "line 3: list[1]: expected text, found a mapping"),
        ("list: a", "line 1: list: expected a list, found 'a'"),
        ("map: a", "line 1: map: expected a mapping, found 'a'"),
        ("inner: []", "line 1: inner: expected a mapping, found a list"),
        ("count: '5'", "line 1: count: expected a whole number, found text in quotes"),
        ("count: 1.5", "line 1: count: expected a whole number, found a number"),
        ("count: many", "line 1: count: expected a whole number, found text"),
        ("count: 12:30", "line 1: count: expected a whole number, found text"),
        ("count: !!int x", "line 1: count: 'x' is not a whole number"),
        ("amount: yes", "line 1: amount: expected a quantity such as 500m, 2 or 4Gi"),
        ("strict: 5", "line 1: strict: expected text, found a whole number; put it in quotes"),
        ("either: 5", "line 1: either: expected text, found a whole number; put it in quotes"),
        ("kind: cat", "line 1: kind: expected job or worker, found 'cat'"),
        ("word: !secret x", "line 1: word: expected text, found the unknown tag !secret"),
        ("- a", "line 1: expected a mapping, found a list"),
        ("map: 'a\n\n  b'", "line 1: map: expected a mapping, found 'a\\nb'"),
        ("just text", "line 1: expected a mapping, found 'just text'"),
        ("? [a]\n: b", "line 1: a key must be a word"),
        ("map: {<<: 5}", "line 1: map: expected a mapping, found '5'"),
        ("word: a: b", "line 1: mapping values are not allowed in this context"),
        ("word: [a\n", "line 2: did not find expected ',' or ']' (while parsing a flow sequence)"),
        ("word: *nowhere", "line 1: found undefined alias"),
        (
            "word: a\n---\nword: b",
            "line 2: but found another document (expected a single document in the stream)",
        ),
        ("word: a\nlist: [\x01]", "line 2: control characters are not allowed"),
        (b"word: a\nlist: [\xff]", "line 2: it is not UTF-8 text"),
    ],
)
def test_each_mistake_is_told_with_its_place(read, tmp_path, text, said):
    with pytest.raises(errors.Problem) as caught:
        read(text)
    assert str(caught.value) == f"failed to parse file {tmp_path}/x.yml: {said}"
    assert caught.value.kind is errors.INVALID_INPUT


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_a_file_deeper_than_the_parsers_stack(read, opening):
    """libyaml's composer recurses in C: it would end the command with SIGSEGV."""
    with pytest.raises(errors.Problem, match="line 1: nested too deep"):
        read(opening * 200_000)


def test_a_file_that_contains_itself(read):
    for text in ("map: &a {<<: *a}", "inner: &a {deep: [1], word: x}\neither: &b {a: x}\nlist: &c [*c]"):
        with pytest.raises(errors.Problem, match="line "):
            read(text)


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("missing.yml", errors.NOT_FOUND, "No such file or directory"),
        (".", errors.IO_ERROR, "Is a directory"),
        ("a\0b", errors.INVALID_INPUT, "null byte"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, kind, said):
    with pytest.raises(errors.Problem, match=said) as caught:
        yamlfile.read(f"{tmp_path}/{name}", "file", SHAPE)
    assert caught.value.kind is kind


def test_a_file_without_an_end():
    with pytest.raises(errors.Problem, match="longer than 4 MiB"):
        yamlfile.read("/dev/zero", "file", SHAPE)


@given(st.text(alphabet="abcwordlistmap:,[]{}&*!|>'\"#-? \n\t01.<~%@`", max_size=60))
def test_whatever_the_text_is_it_is_read_or_refused_in_one_line(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "fuzz.yml"
    path.write_text(text)
    try:
        said = ""
        yamlfile.read(str(path), "file", SHAPE)
    except errors.Problem as problem:
        said = str(problem)
    assert "\n" not in said


LENIENT = yamlfile.known({"serverUrl": yamlfile.text, "on": yamlfile.truth})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", {}),
        ("serverUrl: a\nother: {b: [c]}\n", {"serverUrl": "a"}),
        ("SERVERURL: a\n'on': yes\n", {"serverUrl": "a", "on": True}),
        ("serverUrl: ~\n'on': false\n", {"on": False}),
    ],
)
def test_what_is_not_known_may_be_ignored(tmp_path, text, value):
    (tmp_path / "f").write_text(text)
    assert yamlfile.read(str(tmp_path / "f"), "file", LENIENT) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("serverUrl: a\nserverUrl: b\n", "line 2: serverUrl: duplicate key, first on line 1"),
        ("serverUrl: a\nserverurl: b\n", "line 2: serverUrl: duplicate field"),
        ("'on': 7\n", "line 1: on: expected true or false, found '7'"),
        ("[a]\n", "expected a mapping"),
    ],
)
def test_mistakes_in_what_is_known(tmp_path, text, why):
    (tmp_path / "f").write_text(text)
    with pytest.raises(errors.Problem, match=why):
        yamlfile.read(str(tmp_path / "f"), "file", LENIENT)
