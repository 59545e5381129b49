"""Codespecs: versions and equality, also for several at once; contract rest-api.md section 5."""

import json
import threading

import pytest

from tests.support import codespecexchanges as codespecs
from tests.support import exchanges
from tests.support.answers import GONE

NEGATE = {
    "kind": "job",
    "image": "quay.io/linuxserver.io/ffmpeg",
    "args": ["-i", "$(INPUT_PIPE)", "$(OUTPUT_PIPE)"],
    "env": {"MY_VAR": "x"},
    "resources": {"requests": {"cpu": "1", "memory": "1G"}, "gpu": "1"},
    "buffers": {"inputs": ["input"], "outputs": ["output"]},
}


def test_versions(talk):
    talk.hold(codespecs.put("negate", NEGATE) + codespecs.made("negate", 1, NEGATE))
    first = talk["made1"]
    # Unchanged: the same version, and still 201 (rest-api.md 13, 16).
    talk.hold(codespecs.put("negate", NEGATE) + codespecs.made("negate", 1, NEGATE))
    assert talk["made1"] == first
    other = {**NEGATE, "image": "other"}
    talk.hold(codespecs.put("negate", other) + codespecs.made("negate", 2, other))
    talk.hold(codespecs.put("negate", other) + codespecs.made("negate", 2, other))
    # Only the newest one is compared.
    talk.hold(codespecs.put("negate", NEGATE) + codespecs.made("negate", 3, NEGATE))
    talk.hold(codespecs.get("/negate") + codespecs.made("negate", 3, NEGATE))
    talk.hold(
        codespecs.get("/negate/versions/1") + codespecs.made("negate", 1, NEGATE, "200 OK", location=False)
    )
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
    talk.hold(codespecs.put(name, FULL) + codespecs.made(name, 1, FULL))
    talk.hold(codespecs.put(name, {**FULL, **change}) + codespecs.made(name, 1, FULL))


def test_names_of_properties_in_any_case_and_numbers_as_texts(talk):
    talk.hold(codespecs.put("any-case", FULL) + codespecs.made("any-case", 1, FULL))
    text = (
        json.dumps(FULL)
        .replace('"workingDir"', '"WORKINGDIR"')
        .replace('"maxReplicas": 2', '"MaxReplicas": "2"')
    )
    talk.hold(codespecs.put("any-case", text.removesuffix("}") + ",}") + codespecs.made("any-case", 1, FULL))


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
    talk.hold(codespecs.put(name, FULL) + codespecs.made(name, 1, FULL))
    talk.hold(codespecs.put(name, {**FULL, **change}) + codespecs.made(name, 2, {**FULL, **change}))


def test_workers(talk):
    talk.hold(codespecs.put("worker", WORKER) + codespecs.made("worker", 1, WORKER))
    swapped = {**WORKER, "endpoints": {"other": 0, "api": 80}}
    talk.hold(codespecs.put("worker", swapped) + codespecs.made("worker", 1, WORKER))
    more = {**WORKER, "endpoints": {"api": 81, "other": 0}}
    talk.hold(codespecs.put("worker", more) + codespecs.made("worker", 2, more))
    job = {"kind": "job", "image": "i"}
    talk.hold(codespecs.put("worker", job) + codespecs.made("worker", 3, job))


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
        talk.hold(codespecs.put("sockets", given) + codespecs.made("sockets", version, spec))


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
    talk.hold(codespecs.put("empty", empty) + codespecs.made("empty", 1, bare))
    talk.hold(codespecs.put("empty", bare) + codespecs.made("empty", 1, bare))
    # Inside a list or a map nothing is touched.
    kept = {**bare, "args": [""], "env": {"A": ""}}
    talk.hold(codespecs.put("empty", kept) + codespecs.made("empty", 2, kept))


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
    talk.hold(codespecs.put("quantities", given) + codespecs.made("quantities", 1, shown))


@pytest.mark.parametrize(
    "path", ["none", "none/versions/1", "there/versions/2", "there/versions/x", "there/versions/1.0",
             "there/versions/0", "there/versions/-1", "there/versions/99999999999999999999"],
)  # fmt: skip
def test_what_is_not_there(talk, path):
    talk.hold(codespecs.put("there", codespecs.job()) + codespecs.made("there", 1, codespecs.job()))
    talk.hold(codespecs.get(f"/{path}") + GONE)


# --- at once -------------------------------------------------------------------------------------------


def at_once(host, bodies):
    """What each of several clients is told that put a codespec at the same time: status and version."""
    name, told = f"once.{len(bodies)}.{len({str(body) for body in bodies})}", []
    ready = threading.Barrier(len(bodies))

    def client(body):
        with exchanges.talk(host.socket) as talk:
            ready.wait()
            talk.hold(codespecs.put(name, body) + codespecs.PUT)
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
