"""Every rule of codespecs with its message, contract rest-api.md section 5.2."""

import pytest

from tests.support import codespecexchanges as codespecs
from tests.support.answers import GONE, invalid


def buffers(inputs=(), outputs=(), **fields):
    return codespecs.job(buffers={"inputs": list(inputs), "outputs": list(outputs)}, **fields)


def sockets(*given, **fields):
    return buffers(["in", "more"], ["out"], sockets=list(given), **fields)


NAME = (
    "The name of buffer '{}' is invalid. Buffer names must consist of lower case alphanumeric characters or '-',"
    " and must start and end with an alphanumeric character."
)
UNIQUE = "All buffer names must be unique across inputs and outputs. Buffer names are case-insensitive. '{}' is duplicated"
READING = "Error deserializing input: "
KIND = "Invalid value for the property 'kind'. It can be either 'job' or 'worker'"

RULES = [
    ("null", "null is not a valid input value"),
    ("{}", f"{READING}Missing discriminator property 'kind'. Path: $"),
    ({"image": "i"}, f"{READING}Missing discriminator property 'kind'. Path: $"),
    ({"kind": "other", "image": "i"}, f"{READING}{KIND}. Path: $"),
    ({"kind": None, "image": "i"}, f"{READING}{KIND}. Path: $"),
    ({"kind": "job"}, f"{READING}The object is missing required properties including: 'image'. Path: $"),
    (codespecs.job(image=""), "The image field is required."),
    (codespecs.job(image=" "), "The image field is required."),
    (codespecs.job(image=None), "The image field is required."),
    (
        codespecs.job(colour="red", size=1),
        f"{READING}Object contains unrecognized properties 'colour', 'size'. Path: $",
    ),
    (
        codespecs.job(endpoints={"a": 1}),
        f"{READING}Object contains unrecognized properties 'endpoints'. Path: $",
    ),
    (
        {"kind": "worker", "image": "i", "buffers": {"inputs": ["a"]}},
        f"{READING}Object contains unrecognized properties 'buffers'. Path: $",
    ),
    (
        {"kind": "worker", "image": "i", "sockets": []},
        f"{READING}Object contains unrecognized properties 'sockets'. Path: $",
    ),
    (
        codespecs.job(buffers={"inputs": ["a"], "others": []}),
        f"{READING}Object contains unrecognized properties 'others'. Path: $.buffers",
    ),
    (
        codespecs.job(resources={"cpu": 1}),
        f"{READING}Object contains unrecognized properties 'cpu'. Path: $.resources",
    ),
    (
        codespecs.job(resources={"limits": {"gpu": 1}}),
        f"{READING}Object contains unrecognized properties 'gpu'. Path: $.resources.limits",
    ),
    (
        codespecs.job(resources={"requests": {"gpu": 1}}),
        f"{READING}Object contains unrecognized properties 'gpu'. Path: $.resources.requests",
    ),
    (
        codespecs.job(resources={"gpu": "many"}),
        f"{READING}'many' is not a quantity such as 1, 500m, 1.5G or 512Mi. Path: $.resources.gpu",
    ),
    (codespecs.job(resources={"shm": "-1Gi"}), f"{READING}'-1Gi' is negative. Path: $.resources.shm"),
    (
        codespecs.job(resources={"limits": {"cpu": "8Ei"}}),
        f"{READING}'8Ei' is too large a quantity. Path: $.resources.limits.cpu",
    ),
    (codespecs.job(maxReplicas=2**31), f"{READING}Expected `int` <= 2147483647. Path: $.maxReplicas"),
    (buffers([""]), "A buffer name cannot be empty"),
    (buffers([" "]), "A buffer name cannot be empty"),
    (buffers([], [None]), "A buffer name cannot be empty"),
    (buffers(["a"], ["b", "a"]), UNIQUE.format("a")),
    (buffers(["a", "A"]), UNIQUE.format("a")),
    (buffers(["A"]), NAME.format("A")),
    (buffers(["a", "-b"]), NAME.format("-b")),
    (buffers(["a-"]), NAME.format("a-")),
    (buffers([], ["a_b"]), NAME.format("a_b")),
    (buffers(["a.b"]), NAME.format("a.b")),
    (sockets({"port": 0, "inputBuffer": "in"}), "Port must be between 1 and 65535"),
    (sockets({"port": 65536, "inputBuffer": "in"}), "Port must be between 1 and 65535"),
    (sockets({"inputBuffer": "in"}), "Port must be between 1 and 65535"),
    (
        sockets({"port": 1, "inputBuffer": "out"}),
        "The input buffer 'out' for socket 1 is not among the codespec's input buffer parameters",
    ),
    (
        sockets({"port": 1, "outputBuffer": "in"}),
        "The output buffer 'in' for socket 1 is not among the codespec's output buffer parameters",
    ),
    (
        sockets({"port": 1, "inputBuffer": "in"}, {"port": 2, "inputBuffer": "IN"}),
        "The input buffer 'IN' is used by multiple sockets",
    ),
    (
        sockets({"port": 1, "outputBuffer": "out"}, {"port": 2, "inputBuffer": "in", "outputBuffer": "out"}),
        "The output buffer 'out' is used by multiple sockets",
    ),
    (sockets({"port": 7}), "At least one of the input or output buffer must be specified for socket 7"),
    *[
        (
            sockets({"port": 1, "inputBuffer": "in"}, **fields),
            "The buffer reference '$(IN_PIPE)' is not valid because it is used by a socket",
        )
        for fields in ({"args": ["x$(IN_PIPE)"]}, {"command": ["$(IN_PIPE)"]}, {"env": {"E": "$(IN_PIPE)"}})
    ],
    (
        codespecs.job(name="other"),
        "If provided, the codespec name in the body must match the name in the URL.",
    ),
]


@pytest.mark.parametrize(("body", "message"), RULES)
def test_rules(talk, body, message):
    talk.hold(codespecs.put("rules", body) + invalid(message) + codespecs.get("/rules") + GONE)


@pytest.mark.parametrize("name", ["Negate", "a%20b", "a%2Fb", "%C3%A9", "a%0A", "a%00"])
def test_names(talk, name):
    message = (
        "Codespec names must contain only lower case letters (a-z), numbers (0-9), dashes (-), underscores (_),"
        " and dots (.)"
    )
    talk.hold(codespecs.put(name, codespecs.job()) + invalid(message))
    talk.hold(codespecs.get(f"/{name}") + GONE)


def test_a_name_has_no_limit(talk):
    name = "a" * 5000
    talk.hold(codespecs.put(name, codespecs.job()) + codespecs.made(name, 1, codespecs.job()))
    talk.hold(codespecs.get(f"?prefix={'a' * 4999}") + codespecs.listed([(name, 1)]))
