"""Codespecs: versions, equality, every rule with its message; contract rest-api.md section 5."""

import json
import threading

import pytest

from tests.support import exchanges
from tests.support.answers import GONE, answer, ask, invalid

V = "api-version=1.0"


def put(name, body):
    return ask("PUT", f"/codespecs/{name}?{V}", body)


def get(target):
    return ask("GET", f"/codespecs{target}{'&' if '?' in target else '?'}{V}")


def made(name, version, body, status=None, location=True):
    """The answer that has this version, its moment remembered by it."""
    kind = f'{{"kind":"{body["kind"]}"'
    shown = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    moment = f'"createdAt":"[[made{version}:time]]"'
    return answer(
        status or ("201 Created" if version == 1 else "200 OK"),
        shown.replace(kind, f'{kind},"name":"{name}","version":{version},{moment}', 1),
        *([f"Location: /codespecs/{name}/{version}"] if location else []),
    )


NEGATE = {
    "kind": "job",
    "image": "quay.io/linuxserver.io/ffmpeg",
    "args": ["-i", "$(INPUT_PIPE)", "$(OUTPUT_PIPE)"],
    "env": {"MY_VAR": "x"},
    "resources": {"requests": {"cpu": "1", "memory": "1G"}, "gpu": "1"},
    "buffers": {"inputs": ["input"], "outputs": ["output"]},
}


def test_versions(talk):
    talk.hold(put("negate", NEGATE) + made("negate", 1, NEGATE))
    first = talk["made1"]
    # Unchanged: the same version, and still 201 (rest-api.md 13, 16).
    talk.hold(put("negate", NEGATE) + made("negate", 1, NEGATE))
    assert talk["made1"] == first
    other = {**NEGATE, "image": "other"}
    talk.hold(put("negate", other) + made("negate", 2, other))
    talk.hold(put("negate", other) + made("negate", 2, other))
    # Only the newest one is compared.
    talk.hold(put("negate", NEGATE) + made("negate", 3, NEGATE))
    talk.hold(get("/negate") + made("negate", 3, NEGATE))
    talk.hold(get("/negate/versions/1") + made("negate", 1, NEGATE, "200 OK", location=False))
    assert talk["made1"] == first


FULL = {
    "kind": "job",
    "image": "i",
    "command": ["a", "b"],
    "args": ["c", "d"],
    "workingDir": "/w",
    "env": {"A": "1", "B": "2"},
    "identity": "x",
    "resources": {
        "requests": {"cpu": "1", "memory": "1Gi"},
        "limits": {"cpu": "2", "memory": "2Gi"},
        "gpu": "1",
        "shm": "64Mi",
    },
    "maxReplicas": 2,
    "buffers": {"inputs": ["in", "more"], "outputs": ["out"]},
}
WORKER = {"kind": "worker", "image": "i", "endpoints": {"api": 80, "other": 0}}


@pytest.mark.parametrize(
    ("number", "change"),
    list(
        enumerate(
            [
                {},
                {"name": "", "version": 7, "createdAt": "0001-01-01T00:00:00Z"},
                {"env": {"B": "2", "A": "1"}},
                {"buffers": {"outputs": ["out"], "inputs": ["more", "in"]}},
                {
                    "resources": {
                        "requests": {"cpu": "1000m", "memory": 1073741824},
                        "limits": {"cpu": 2, "memory": "2048Mi"},
                        "gpu": 1,
                        "shm": "65536Ki",
                    }
                },
                {"sockets": []},
            ]
        )
    ),
)
def test_what_is_equal(talk, number, change):
    name = f"equal.{number}"
    talk.hold(put(name, FULL) + made(name, 1, FULL))
    talk.hold(put(name, {**FULL, **change}) + made(name, 1, FULL))


def test_names_of_properties_in_any_case_and_numbers_as_texts(talk):
    talk.hold(put("any-case", FULL) + made("any-case", 1, FULL))
    text = (
        json.dumps(FULL)
        .replace('"workingDir"', '"WORKINGDIR"')
        .replace('"maxReplicas": 2', '"MaxReplicas": "2"')
    )
    talk.hold(put("any-case", text.removesuffix("}") + ",}") + made("any-case", 1, FULL))


@pytest.mark.parametrize(
    ("number", "change"),
    list(
        enumerate(
            [
                {"image": "I"},
                {"command": ["b", "a"]},
                {"args": ["d", "c"]},
                {"workingDir": "/W"},
                {"env": {"A": "1", "B": "3"}},
                {"env": {"A": "1"}},
                {"identity": "y"},
                {"resources": {**FULL["resources"], "gpu": "2"}},
                {"maxReplicas": 0},
                {"buffers": {"inputs": ["in"], "outputs": ["more", "out"]}},
                {"sockets": [{"port": 80, "inputBuffer": "in"}]},
            ]
        )
    ),
)
def test_what_differs(talk, number, change):
    name = f"different.{number}"
    talk.hold(put(name, FULL) + made(name, 1, FULL))
    talk.hold(put(name, {**FULL, **change}) + made(name, 2, {**FULL, **change}))


def test_workers(talk):
    talk.hold(put("worker", WORKER) + made("worker", 1, WORKER))
    swapped = {**WORKER, "endpoints": {"other": 0, "api": 80}}
    talk.hold(put("worker", swapped) + made("worker", 1, WORKER))
    more = {**WORKER, "endpoints": {"api": 81, "other": 0}}
    talk.hold(put("worker", more) + made("worker", 2, more))
    job = {"kind": "job", "image": "i"}
    talk.hold(put("worker", job) + made("worker", 3, job))


def test_one_with_sockets_equals_nothing(talk):
    spec = {
        "kind": "job",
        "image": "i",
        "args": ["$$(IN_PIPE)", "$(OUT_PIPE)"],
        "buffers": {"inputs": ["in"], "outputs": ["out"]},
        "sockets": [{"port": 80, "inputBuffer": "in"}],
    }
    # What a socket does not have is ignored in it, other than everywhere else.
    given = {**spec, "sockets": [{"port": "80", "inputBuffer": "in", "color": "red"}]}
    for version in (1, 2, 3):
        talk.hold(put("sockets", given) + made("sockets", version, spec))


def test_what_is_empty_is_absent(talk):
    empty = {
        "kind": "job",
        "image": "i",
        "command": [],
        "args": None,
        "workingDir": "",
        "env": {},
        "identity": "",
        "resources": {"requests": {}, "limits": {"cpu": "", "memory": None}, "gpu": ""},
        "buffers": {"inputs": [], "outputs": []},
        "sockets": [],
        "maxReplicas": None,
    }
    bare = {"kind": "job", "image": "i"}
    talk.hold(put("empty", empty) + made("empty", 1, bare))
    talk.hold(put("empty", bare) + made("empty", 1, bare))
    # Inside a list or a map nothing is touched.
    kept = {**bare, "args": [""], "env": {"A": ""}}
    talk.hold(put("empty", kept) + made("empty", 2, kept))


def test_quantities_are_shown_in_canonical_form(talk):
    given = {
        "kind": "job",
        "image": "i",
        "resources": {"requests": {"cpu": 0.5, "memory": "1024Mi"}, "gpu": 1, "shm": "1.5Gi"},
    }
    shown = {
        "kind": "job",
        "image": "i",
        "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "gpu": "1", "shm": "1536Mi"},
    }
    talk.hold(put("quantities", given) + made("quantities", 1, shown))


def job(**fields):
    return {"kind": "job", "image": "i", **fields}


def buffers(inputs=(), outputs=(), **fields):
    return job(buffers={"inputs": list(inputs), "outputs": list(outputs)}, **fields)


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
    (job(image=""), "The image field is required."),
    (job(image=" "), "The image field is required."),
    (job(image=None), "The image field is required."),
    (
        job(colour="red", size=1),
        f"{READING}Object contains unrecognized properties 'colour', 'size'. Path: $",
    ),
    (job(endpoints={"a": 1}), f"{READING}Object contains unrecognized properties 'endpoints'. Path: $"),
    (
        {"kind": "worker", "image": "i", "buffers": {"inputs": ["a"]}},
        f"{READING}Object contains unrecognized properties 'buffers'. Path: $",
    ),
    (
        {"kind": "worker", "image": "i", "sockets": []},
        f"{READING}Object contains unrecognized properties 'sockets'. Path: $",
    ),
    (
        job(buffers={"inputs": ["a"], "others": []}),
        f"{READING}Object contains unrecognized properties 'others'. Path: $.buffers",
    ),
    (job(resources={"cpu": 1}), f"{READING}Object contains unrecognized properties 'cpu'. Path: $.resources"),
    (
        job(resources={"limits": {"gpu": 1}}),
        f"{READING}Object contains unrecognized properties 'gpu'. Path: $.resources.limits",
    ),
    (
        job(resources={"requests": {"gpu": 1}}),
        f"{READING}Object contains unrecognized properties 'gpu'. Path: $.resources.requests",
    ),
    (
        job(resources={"gpu": "many"}),
        f"{READING}'many' is not a quantity such as 1, 500m, 1.5G or 512Mi. Path: $.resources.gpu",
    ),
    (job(resources={"shm": "-1Gi"}), f"{READING}'-1Gi' is negative. Path: $.resources.shm"),
    (
        job(resources={"limits": {"cpu": "8Ei"}}),
        f"{READING}'8Ei' is too large a quantity. Path: $.resources.limits.cpu",
    ),
    (job(maxReplicas=2**31), f"{READING}Expected `int` <= 2147483647. Path: $.maxReplicas"),
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
        job(name="other"),
        "If provided, the codespec name in the body must match the name in the URL.",
    ),
]


@pytest.mark.parametrize(("body", "message"), RULES)
def test_rules(talk, body, message):
    talk.hold(put("rules", body) + invalid(message) + get("/rules") + GONE)


@pytest.mark.parametrize("name", ["Negate", "a%20b", "a%2Fb", "%C3%A9", "a%0A", "a%00"])
def test_names(talk, name):
    message = (
        "Codespec names must contain only lower case letters (a-z), numbers (0-9), dashes (-), underscores (_),"
        " and dots (.)"
    )
    talk.hold(put(name, job()) + invalid(message))
    talk.hold(get(f"/{name}") + GONE)


def test_a_name_has_no_limit(talk):
    name = "a" * 5000
    talk.hold(put(name, job()) + made(name, 1, job()))
    talk.hold(get(f"?prefix={'a' * 4999}") + listed([(name, 1)]))


@pytest.mark.parametrize(
    "path", ["none", "none/versions/1", "there/versions/2", "there/versions/x", "there/versions/1.0",
             "there/versions/0", "there/versions/-1", "there/versions/99999999999999999999"],
)  # fmt: skip
def test_what_is_not_there(talk, path):
    talk.hold(put("there", job()) + made("there", 1, job()))
    talk.hold(get(f"/{path}") + GONE)


# --- lists ---------------------------------------------------------------------------------------------


def listed(items, link=None):
    shown = ",".join(
        f'{{"kind":"job","name":"{name}","version":{version},"createdAt":"[[:time]]","image":"i"[[:any]]}}'
        for name, version in items
    )
    rest = f',"nextLink":"{link}"' if link else ""
    return answer("200 OK", f'{{"items":[{shown}]{rest}}}')


PUT = answer("[[status:number]] [[:text]]", "[[:any]]", "Location: /codespecs/[[:text]]/[[version:number]]")
"""What is told to whoever puts a codespec, in some version."""


def test_pages(talk):
    for name in ("list.b", "list.a", "list.b-c", "list_z", "list.b"):
        spec = job(sockets=[{"port": 1, "inputBuffer": "x"}], buffers={"inputs": ["x"]})
        talk.hold(put(name, spec) + PUT)
    # The newest version of each name, in the order of their bytes.
    link = f"/codespecs?prefix=list&limit=2&{V}&_ct=[[token:token]]"
    talk.hold(get("?prefix=list&limit=2") + listed([("list.a", 1), ("list.b", 2)], link))
    # A new version meanwhile disturbs nothing.
    talk.hold(put("list.b", job(args=["new"])) + made("list.b", 3, job(args=["new"])))
    talk.hold(ask("GET", link.replace(":token", "")) + listed([("list.b-c", 1), ("list_z", 1)]))
    every = [("list.a", 1), ("list.b", 3), ("list.b-c", 1), ("list_z", 1)]
    talk.hold(get("?prefix=list") + listed(every))
    talk.hold(get("?prefix=list&limit=4") + listed(every))
    talk.hold(get("?prefix=list&limit=1001") + listed(every))
    talk.hold(get("?prefix=list&limit=0") + listed([]))


def test_the_token_of_the_contract(talk):
    """`["klamath"]`, as the contract has it: either server continues the other's list."""
    for name in ("klamath", "klamath-2"):
        talk.hold(put(name, job()) + made(name, 1, job()))
    link = f"/codespecs?prefix=klamath&limit=1&{V}&_ct=mctgs5dbpioze4bnmw"
    talk.hold(get("?prefix=klamath&limit=1") + listed([("klamath", 1)], link))
    talk.hold(ask("GET", link) + listed([("klamath-2", 1)]))


@pytest.mark.parametrize(
    ("prefix", "names"),
    [
        ("3d_", ["3d_a", "3dxa"]),
        ("3d%25a", ["3d_a", "3dxa"]),
        ("%25dxa", ["3dxa"]),
        ("3d%5C_", ["3d_a"]),
        ("3D", []),
        ("3d_a_", []),
        ("%00", []),
    ],
)
def test_prefixes_are_patterns(talk, prefix, names):
    for name in ("3dxa", "3d_a"):
        talk.hold(put(name, job()) + made(name, 1, job()))
    talk.hold(get(f"?prefix={prefix}") + listed([(name, 1) for name in names]))


@pytest.mark.parametrize(
    "token", ["", "0", "mc5dgqbwgrhdyc3sgohu1pjtge5drcbcgr3dgze", "mctgs5dbpioze4bnm", "yy", "MCTG", "%22"]
)
def test_tokens_that_are_none(talk, token):
    """Made up, cut short, or of another list."""
    talk.hold(get(f"?_ct={token}") + invalid("Invalid continuation token."))


def test_limits(talk):
    talk.hold(get("?limit=-1") + invalid("Limit must be a non-negative integer."))
    talk.hold(get(f"?prefix={'q' * 50_000}") + invalid("The prefix is longer than 49999 characters."))


# --- at once -------------------------------------------------------------------------------------------


def at_once(host, bodies):
    """What each of several clients is told that put a codespec at the same time: status and version."""
    name, told = f"once.{len(bodies)}.{len({str(body) for body in bodies})}", []
    ready = threading.Barrier(len(bodies))

    def client(body):
        with exchanges.talk(host.socket) as talk:
            ready.wait()
            talk.hold(put(name, body) + PUT)
            told.append((talk["status"], int(talk["version"])))

    threads = [threading.Thread(target=client, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(told, key=lambda one: one[1])


def test_clients_that_create_the_same_codespec_at_once(host):
    assert at_once(host, [FULL] * 8) == [("201", 1)] * 8


def test_clients_that_create_different_codespecs_of_one_name_at_once(host):
    bodies = [{**FULL, "image": f"i{number}"} for number in range(8)]
    assert at_once(host, bodies) == [("201", 1)] + [("200", version) for version in range(2, 9)]
