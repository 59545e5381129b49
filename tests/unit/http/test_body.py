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
