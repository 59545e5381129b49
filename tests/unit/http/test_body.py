"""JSON bodies in the words of rest-api.md 1.8."""

import pytest

from tyger import errors, model
from tygerd.http import body


def decode(text, kind, *, normalized=True):
    return body.decode(text.encode() if isinstance(text, str) else text, kind, normalized=normalized)


def refusal(text, kind, *, normalized=True):
    with pytest.raises(errors.Problem) as caught:
        decode(text, kind, normalized=normalized)
    assert caught.value.kind is errors.INVALID_INPUT
    return caught.value.message


def test_names_are_matched_in_any_case():
    assert decode('{"Tags":{"aB":"c"},"EXPIRESAT":"x"}', model.Buffer) == model.Buffer(
        tags={"aB": "c"}, expires_at="x"
    )


def test_trailing_commas_are_allowed_and_texts_are_left_alone():
    assert decode('{"tags":{"a":",}",  },}', model.Buffer).tags == {"a": ",}"}


def test_numbers_may_be_texts():
    assert decode('{"job":{"codespec":"a"},"timeoutSeconds":"60"}', model.Run).timeout_seconds == 60


def test_what_a_client_cannot_set_may_be_sent():
    text = '{"id":"","createdAt":"0001-01-01T00:00:00Z","eTag":"1"}'
    assert decode(text, model.Buffer).created_at == "0001-01-01T00:00:00Z"


@pytest.mark.parametrize("text", ["{}", '{"tags":{}}', '{"id":""}'])
def test_a_buffer_is_never_empty_because_of_its_truth_value(text):
    assert decode(text, model.Buffer) == model.Buffer()


def test_normalisation_takes_what_is_empty_away():
    text = """{"kind":"job","image":"","args":[],"env":{},"workingDir":"","resources":{"limits":{"cpu":""}},
               "buffers":{"inputs":[],"outputs":null},"command":["",[]]}"""
    with pytest.raises(errors.Problem, match=r"Expected `str`, got `array`. Path: \$.command\[1\]"):
        decode(text, model.Codespec)
    spec = decode(text.replace(",[]]", "]"), model.Codespec)
    assert spec == model.JobCodespec(image="", command=[""])


def test_without_normalisation_what_is_empty_stays():
    assert decode('{"tags":{}}', model.BufferUpdate, normalized=False).tags == {}


class Optional(model.Wire):
    name: str | None = None
    inner: model.BufferParameters | None = None


@pytest.mark.parametrize("text", ["{}", '{"name":""}', '{"inner":{"inputs":[]}}', '{"name":null}'])
def test_an_object_of_nothing_is_refused(text):
    assert refusal(text, Optional) == "An empty object is not a valid input value"
    decode(text, Optional, normalized=False)


@pytest.mark.parametrize("normalized", [True, False])
def test_null_is_refused(normalized):
    assert refusal("null", model.Buffer, normalized=normalized) == "null is not a valid input value"


@pytest.mark.parametrize(
    ("text", "kind", "detail"),
    [
        ('{"kind":"job"}', model.Codespec, "missing required properties including: 'image'. Path: $"),
        ('{"image":"x"}', model.Codespec, "Missing discriminator property 'kind'. Path: $"),
        (
            '{"kind":"jobs","image":"x"}',
            model.Codespec,
            "Invalid value for the property 'kind'. It can be either 'job' or 'worker'. Path: $",
        ),
        ('{"kind":1,"image":"x"}', model.Codespec, "Invalid value for the property 'kind'."),
        ('{"job":{"codespec":{"image":"x"}}}', model.Run, "property 'kind'. Path: $.job.codespec"),
        ('{"job":{"codespec":7}}', model.Run, "Expected string or object. Path: $.job.codespec"),
        ("{}", model.Run, "missing required properties including: 'job'"),
        (
            '{"a":1,"tags":{},"b":2}',
            model.Buffer,
            "Object contains unrecognized properties 'a', 'b'. Path: $",
        ),
        (
            '{"kind":"worker","image":"x","buffers":{}}',
            model.Codespec,
            "Object contains unrecognized properties 'buffers'",
        ),
        ('{"tags":{"a":1}}', model.Buffer, "Expected `str`, got `int`. Path: $.tags"),
        ("[]", model.Buffer, "Expected `object`, got `array`. Path: $"),
        ('"x"', model.Buffer, "Expected `object`, got `str`"),
        ("", model.Buffer, ""),
        ("{", model.Buffer, ""),
        ("{} {}", model.Buffer, ""),
        ("{'a':1}", model.Buffer, ""),
        ("{/* */}", model.Buffer, ""),
        (b"\xff", model.Buffer, ""),
        (b'{"tags":{"\xff":"a"}}', model.Buffer, ""),
        ("[" * 100_000, model.Buffer, ""),
        ('{"tags":' * 900 + "1" + "}" * 900, model.BufferUpdate, ""),
    ],
)
def test_what_is_refused_and_how(text, kind, detail):
    message = refusal(text, kind)
    assert message.startswith("Error deserializing input: ")
    assert detail in message
    assert "\n" not in message


def test_unknown_names_are_ignored_where_the_contract_ignores_them():
    assert decode('{"x":1,"tags":{"a":"b"}}', model.BufferUpdate, normalized=False).tags == {"a": "b"}


def test_null_where_a_text_belongs_is_an_empty_one():
    text = '{"kind":"job","image":null,"args":["a",null],"buffers":{"inputs":[null]}}'
    found = decode(text, model.Codespec)
    assert (found.image, found.args, found.buffers.inputs) == ("", ["a", ""], [""])


# --- what nobody sends by accident -------------------------------------------------------------------------


def test_a_byte_order_mark_is_no_mistake():
    assert decode(b"\xef\xbb\xbf" + b'{"tags":{"a":"b"}}', model.Buffer).tags == {"a": "b"}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('{"tags":{"a":"1"},"tags":{"a":"2"}}', "tags"),
        ('{"tags":{"a":"1"},"Tags":{"a":"2"}}', "Tags"),
        ('{"tags":{"a":"1"},"\\u0074ags":null}', "tags"),
        ('{"tags":{"a":"1","a":"2"}}', "a"),
        ('{"tags":{"a":"1","a":"2",},}', "a"),
    ],
)
def test_nothing_is_given_twice(text, name):
    assert refusal(text, model.Buffer) == f"Error deserializing input: The property '{name}' is given twice"


def test_a_kind_is_not_given_twice():
    assert "'Kind' is given twice" in refusal('{"kind":"job","Kind":"worker","image":"i"}', model.Codespec)


def test_tags_that_differ_in_case_are_two():
    assert decode('{"tags":{"a":"1","A":"2"}}', model.Buffer).tags == {"a": "1", "A": "2"}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"[" * 100_000, "The JSON is nested too deeply"),
        (b'{"tags":' * 100_000, "The JSON is nested too deeply"),
        (
            b'{"tags":{"a":' + b"[" * 500 + b"]" * 500 + b"}}",
            "Expected `str`, got `array`. Path: $.tags[...]",
        ),
        (b'{"tags":{"a":"\xff"}}', "The JSON is not UTF-8"),
        (b'{"tags":{"a":"\xed\xa0\x80"}}', "The JSON is not UTF-8"),
        ('{"tags":{}}'.encode("utf-16"), "JSON is malformed: invalid character (byte 0)"),
        (b'{"tags":{}', "Input data was truncated"),
        (b'{"tags":{}}{}', "JSON is malformed: trailing characters (byte 12)"),
        (b"9" * 100_000, "Integer value out of range"),
        (b"1e999", "Number out of range"),
    ],
    ids=range(10),
)
def test_bodies_that_are_made_to_hurt(data, said):
    assert refusal(data, model.Buffer) == f"Error deserializing input: {said}"


@pytest.mark.parametrize(
    "data",
    [
        b'[1,]"' + b'\\"' * 500_000,
        b'[1,]"' + b'\\"' * 500_000 + b"\\",
        b"[1,]" + b'"' * 1_000_000,
        b"[1,]" + b", " * 500_000,
        b"[" + b"[]," * 300_000 + b"[]]",
        b"{" + b",".join(b'"%d":1' % i for i in range(90_000)) + b',"1":1}',
    ],
    ids=["quoted quotes", "and a backslash", "quotes", "commas", "lists", "names"],
)
def test_a_long_body_takes_no_longer_than_its_length(data):
    """Seconds, where it was minutes: the suite would not end."""
    assert refusal(data, model.Buffer).startswith("Error deserializing input: ")


@pytest.mark.parametrize("number", [2**31, -(2**31) - 1, 10**30, '"99999999999"'])
def test_numbers_beyond_their_range(number):
    text = f'{{"job":{{"codespec":"a"}},"timeoutSeconds":{number}}}'
    assert refusal(text, model.Run).endswith(
        "2147483647. Path: $.timeoutSeconds"
    ) or "-2147483648" in refusal(text, model.Run)


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "application/json",
        "application/json; charset=utf-8",
        ' Application/JSON ; charset="UTF-8"',
        "text/json",
        "application/merge-patch+json",
    ],
)
def test_what_is_said_to_be_json(kind):
    body.check_type(kind)


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16", "", "json"],
)
def test_what_is_said_to_be_none(kind):
    with pytest.raises(errors.Problem) as caught:
        body.check_type(kind)
    assert (caught.value.status, caught.value.kind.code) == (415, "UnsupportedMediaType")
    assert "application/json" in caught.value.message


@pytest.mark.parametrize("depth", [400, 900, 940, 960, 980, 990, 1000, 1100])
def test_depth_that_nobody_looks_at_is_bounded_all_the_same(depth):
    text = '{"more":' + "[" * depth + "]" * depth + "}"
    try:
        assert decode(text, model.BufferUpdate, normalized=False) == model.BufferUpdate()
    except errors.Problem as problem:
        # Where the interpreter's limit is, is its own affair.
        assert depth > 800
        assert "nested too deeply" in problem.message  # noqa: PT017
