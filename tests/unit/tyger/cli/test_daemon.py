"""`tyger status` and `tyger version`."""

import tyger as package


def test_status_as_text_and_json(tyger, daemon):
    daemon.answers["GET", "/status"] = (
        200,
        {"version": "1", "engine": {"name": "process", "isolated": True}, "stores": ["local", "x"]},
    )
    assert tyger("status").out == (
        "version: 1\nengine.name: process\nengine.isolated: yes\nstores: local, x\n"
    )
    assert tyger("status", "--format", "json").out.startswith('{\n  "version": "1",\n  "engine": {\n')


def test_status_says_where_buffers_are_and_who_waits(tyger, daemon):
    daemon.answers["GET", "/status"] = (
        200,
        {
            "waiting": ["3f2b b1: paused", "9c01 b2: offline since 13:04:12 UTC: connection refused"],
            "stores": [
                {"name": "local", "location": "local", "endpoint": "/s", "embedded": True},
                {"name": "me", "location": "westeurope", "endpoint": None, "embedded": False},
            ],
        },
    )
    assert tyger("status").out == (
        "waiting: 3f2b b1: paused\n"
        "waiting: 9c01 b2: offline since 13:04:12 UTC: connection refused\n"
        "stores: name local, location local, endpoint /s, embedded yes\n"
        "stores: name me, location westeurope, embedded no\n"
    )
    daemon.answers["GET", "/status"] = (200, {"waiting": []})
    assert tyger("status").out == "waiting: none\n"


def test_status_in_a_format_that_there_is_not(tyger):
    done = tyger("status", "--format", "xml")
    assert done.code == 64
    assert "must be 'json', 'text'" in done.err


def test_version_with_and_without_a_daemon(tyger, daemon):
    daemon.version = "9.9"
    assert tyger("version").out == f"tyger version {package.__version__}\ntygerd version 9.9\n"
    assert tyger("version", "--socket", "/nonexistent/s").out == f"tyger version {package.__version__}\n"
