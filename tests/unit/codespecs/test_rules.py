import msgspec
import pytest

from tyger import errors, model
from tygerd.codespecs import rules


def job(**fields):
    return model.JobCodespec(image="i", **fields)


def decoded(text):
    return msgspec.json.decode(text, type=model.Codespec)


def refused(call, *args):
    with pytest.raises(errors.Problem) as caught:
        call(*args)
    assert caught.value.kind is errors.INVALID_INPUT
    return caught.value.message


def with_buffers(inputs=(), outputs=(), **fields):
    return job(buffers=model.BufferParameters(inputs=list(inputs), outputs=list(outputs)), **fields)


UNIQUE = (
    "All buffer names must be unique across inputs and outputs. Buffer names are case-insensitive."
    " 'a' is duplicated"
)


def test_good_codespecs():
    rules.check(job())
    rules.check(with_buffers(["a", "a-b", "0"], ["b"]))
    rules.check(model.WorkerCodespec(image="i", endpoints={"x": 0}))


@pytest.mark.parametrize(
    ("codespec", "message"),
    [
        (model.JobCodespec(image=""), "The image field is required."),
        (model.JobCodespec(image=" \t"), "The image field is required."),
        (model.WorkerCodespec(image=""), "The image field is required."),
        (with_buffers([""]), "A buffer name cannot be empty"),
        (with_buffers(outputs=[" "]), "A buffer name cannot be empty"),
        (
            with_buffers(["a"], ["A"]),
            UNIQUE,
        ),
    ],
)
def test_what_is_refused(codespec, message):
    assert refused(rules.check, codespec) == message


@pytest.mark.parametrize("name", ["A", "-a", "a-", "a_b", "a.b", "é", "a\n"])
def test_names_of_buffers_that_are_refused(name):
    shown = name.replace("\n", "\\n")
    assert refused(rules.check, with_buffers([name])) == (
        f"The name of buffer '{shown}' is invalid. Buffer names must consist of lower case alphanumeric"
        " characters or '-', and must start and end with an alphanumeric character."
    )


def socket(port=80, input_buffer=None, output_buffer=None):
    return model.Socket(port=port, input_buffer=input_buffer, output_buffer=output_buffer)


@pytest.mark.parametrize(
    ("sockets", "message"),
    [
        ([socket(0, "in")], "Port must be between 1 and 65535"),
        ([socket(65536, "in")], "Port must be between 1 and 65535"),
        (
            [socket(1, "x")],
            "The input buffer 'x' for socket 1 is not among the codespec's input buffer parameters",
        ),
        (
            [socket(1, None, "in")],
            "The output buffer 'in' for socket 1 is not among the codespec's output buffer parameters",
        ),
        ([socket(1, "in"), socket(2, "in")], "The input buffer 'in' is used by multiple sockets"),
        (
            [socket(1, None, "out"), socket(2, "in", "out")],
            "The output buffer 'out' is used by multiple sockets",
        ),
        (
            [socket(1, "in"), socket(2, "in", "x")],
            "The output buffer 'x' for socket 2 is not among the codespec's output buffer parameters",
        ),
        ([socket(7)], "At least one of the input or output buffer must be specified for socket 7"),
    ],
)
def test_sockets_that_are_refused(sockets, message):
    assert refused(rules.check, with_buffers(["in"], ["out"], sockets=sockets)) == message


@pytest.mark.parametrize(
    "fields",
    [{"args": ["x$(IN_PIPE)"]}, {"command": ["$$$(IN_PIPE)"]}, {"env": {"E": "$(OUT_PIPE) $(IN_PIPE)"}}],
)
def test_a_reference_to_a_pipe_that_a_socket_serves(fields):
    codespec = with_buffers(["in"], ["out"], sockets=[socket(1, "IN")], **fields)
    assert refused(rules.check, codespec) == (
        "The buffer reference '$(IN_PIPE)' is not valid because it is used by a socket"
    )


def test_references_that_are_allowed():
    texts = ["$$(IN_PIPE)", "$(OUT_PIPE)", "$(in_pipe)", "$(IN_PIPE", "IN_PIPE)", "$"]
    rules.check(with_buffers(["in"], ["out"], sockets=[socket(1, "in")], args=texts))


def test_quantities_become_canonical():
    given = decoded(
        '{"kind":"job","image":"i","resources":'
        '{"requests":{"cpu":0.5,"memory":"1024Mi"},"limits":{"cpu":"2000m"},"gpu":1,"shm":"1.5Gi"}}'
    )
    resources = rules.canonical(given).resources
    assert (resources.requests.cpu, resources.requests.memory) == ("500m", "1Gi")
    assert (resources.limits.cpu, resources.limits.memory) == ("2", None)
    assert (resources.gpu, resources.shm) == ("1", "1536Mi")


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ('{"gpu":"many"}', "'many' is not a quantity such as 1, 500m, 1.5G or 512Mi. Path: $.resources.gpu"),
        ('{"limits":{"memory":"8Ei"}}', "'8Ei' is too large a quantity. Path: $.resources.limits.memory"),
        ('{"requests":{"cpu":-1}}', "'-1' is negative. Path: $.resources.requests.cpu"),
        (
            '{"shm":"1\\n"}',
            "'1\\n' is not a quantity such as 1, 500m, 1.5G or 512Mi. Path: $.resources.shm",
        ),
    ],
)
def test_no_quantities(resources, message):
    given = decoded(f'{{"kind":"job","image":"i","resources":{resources}}}')
    assert refused(rules.canonical, given) == f"Error deserializing input: {message}"


FULL = {
    "kind": "job",
    "image": "i",
    "command": ["a", "b"],
    "args": ["c", "d"],
    "workingDir": "/w",
    "env": {"A": "1", "B": "2"},
    "identity": "x",
    "resources": {"requests": {"cpu": "1"}, "gpu": "1"},
    "maxReplicas": 2,
    "buffers": {"inputs": ["i", "j"], "outputs": ["o"]},
}


@pytest.mark.parametrize(
    "same",
    [
        {"name": "n", "version": 4, "createdAt": "then"},
        {"env": {"B": "2", "A": "1"}},
        {"buffers": {"inputs": ["j", "i"], "outputs": ["o"]}},
        {"resources": {"requests": {"cpu": "1000m"}, "gpu": "1000e-3", "limits": {}}},
    ],
)
def test_equal(same):
    assert rules.equal(
        msgspec.convert(FULL, model.Codespec), msgspec.convert({**FULL, **same}, model.Codespec)
    )


@pytest.mark.parametrize(
    "different",
    [
        {"image": "I"},
        {"command": ["b", "a"]},
        {"command": None},
        {"args": ["c"]},
        {"workingDir": "/W"},
        {"env": {"A": "1"}},
        {"env": {"A": "1", "B": "3"}},
        {"identity": None},
        {"resources": {"requests": {"cpu": "2"}, "gpu": "1"}},
        {"resources": {"limits": {"cpu": "1"}, "gpu": "1"}},
        {"maxReplicas": 3},
        {"buffers": {"inputs": ["i"], "outputs": ["j", "o"]}},
        {"sockets": [{"port": 1, "inputBuffer": "i"}]},
    ],
)
def test_different(different):
    assert not rules.equal(
        msgspec.convert(FULL, model.Codespec), msgspec.convert({**FULL, **different}, model.Codespec)
    )


def test_kinds_and_endpoints():
    one = model.WorkerCodespec(image="i", endpoints={"a": 1, "b": 2})
    assert rules.equal(one, model.WorkerCodespec(image="i", endpoints={"b": 2, "a": 1}))
    assert not rules.equal(one, model.WorkerCodespec(image="i", endpoints={"a": 1}))
    assert not rules.equal(model.WorkerCodespec(image="i"), job())


def test_sockets_equal_nothing():
    codespec = with_buffers(["in"], sockets=[socket(1, "in")])
    assert not rules.equal(codespec, codespec)
