"""Wire types: names, what is left out, what is refused."""

import re

import msgspec
import pytest

from tyger import errors, model, units


def test_names_are_camel_case_and_defaults_are_left_out():
    buffer = model.Buffer(id="x", created_at="then", e_tag="1", is_soft_deleted=False)
    assert msgspec.json.encode(buffer) == b'{"id":"x","createdAt":"then","eTag":"1"}'


def test_a_codespec_says_its_kind():
    job = model.JobCodespec(image="i")
    assert msgspec.json.encode(job) == b'{"kind":"job","image":"i"}'
    assert msgspec.json.decode(b'{"kind":"job","image":"i"}', type=model.Codespec) == job
    worker = msgspec.json.decode(b'{"kind":"worker","image":"i","endpoints":{"a":1}}', type=model.Codespec)
    assert isinstance(worker, model.WorkerCodespec)


def test_a_run_names_a_codespec_or_holds_one():
    named = msgspec.json.decode(b'{"job":{"codespec":"a/versions/3"}}', type=model.Run)
    assert named.job.codespec == "a/versions/3"
    inline = msgspec.json.decode(b'{"job":{"codespec":{"kind":"job","image":"i"}}}', type=model.Run)
    assert inline.job.codespec.image == "i"


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (model.Buffer, b'{"idd":"x"}'),
        (model.Codespec, b'{"kind":"job","image":"i","endpoints":{}}'),
        (model.Codespec, b'{"image":"i"}'),
        (model.Codespec, b'{"kind":"job"}'),
        (model.Run, b'{"job":{}}'),
        (model.Run, b'{"job":{"codespec":"x"},"more":1}'),
        (model.WriteRequest, b'{"buffer":1}'),
        (model.Outcome, b'{"outcome":"maybe"}'),
    ],
)
def test_what_the_contract_refuses_is_refused(kind, data):
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(data, type=kind)


@pytest.mark.parametrize("kind", [model.BufferUpdate, model.RunUpdate, model.Socket])
def test_what_the_contract_ignores_is_ignored(kind):
    data = b'{"port":1,"more":1,"eTag":"x"}'
    assert isinstance(msgspec.json.decode(data, type=kind), kind)


def test_a_client_reads_a_newer_daemon():
    assert msgspec.json.decode(
        b'{"id":"1","kind":"write","buffer":"b","state":"running","new":1}', type=model.Transfer
    )


@pytest.mark.parametrize(
    "text", ["5", "-5", "00:05", "0.00:05", "1.02:03:04", "23:59:59.1234567", "10675199.00:00"]
)
def test_spans_that_are_read_have_the_pattern_that_is_described(text):
    units.parse_timespan(text)
    assert re.search(model._SPAN, text)


@pytest.mark.parametrize("text", ["", "x", "24:00", "1:60", "1.5", "1:2:3:4", " 5", "00:00:00.12345678"])
def test_others_are_neither_read_nor_have_it(text):
    with pytest.raises(errors.Problem):
        units.parse_timespan(text)
    assert not re.search(model._SPAN, text)
