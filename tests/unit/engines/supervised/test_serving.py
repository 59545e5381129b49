"""Which buffers of a codespec are joined with ports."""

from __future__ import annotations

from tyger import model
from tygerd.engines.supervised import serving
from tygerd.supervisor import spec


def codespec(*sockets: model.Socket) -> model.JobCodespec:
    buffers = model.BufferParameters(inputs=["in", "more"], outputs=["out"])
    return model.JobCodespec(image="i", buffers=buffers, sockets=list(sockets))


def test_what_a_port_is_joined_with_is_no_pipe():
    job = codespec(model.Socket(port=80, input_buffer="in", output_buffer="out"))
    assert serving.sockets(job) == (spec.Socket(80, "in", "out"),)
    assert serving.piped(job) == ["more"]


def test_a_buffer_is_found_in_whatever_case():
    job = codespec(model.Socket(port=80, input_buffer="MORE"), model.Socket(port=81, output_buffer="Out"))
    assert serving.sockets(job) == (spec.Socket(80, "more", None), spec.Socket(81, None, "out"))
    assert serving.piped(job) == ["in"]


def test_a_name_that_is_empty_is_none():
    assert serving.sockets(codespec(model.Socket(port=80, input_buffer="", output_buffer="out"))) == (
        spec.Socket(80, None, "out"),
    )


def test_without_sockets_all_are_pipes():
    assert serving.sockets(codespec()) == ()
    assert serving.piped(codespec()) == ["in", "more", "out"]
    assert serving.piped(model.JobCodespec(image="i")) == []
