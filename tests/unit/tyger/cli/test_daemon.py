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


def test_status_in_a_format_that_there_is_not(tyger):
    done = tyger("status", "--format", "xml")
    assert done.code == 64
    assert "'xml' is not one of 'text', 'json'" in done.err


def test_version_with_and_without_a_daemon(tyger, daemon):
    daemon.version = "9.9"
    assert tyger("version").out == f"tyger version {package.__version__}\ntygerd version 9.9\n"
    assert tyger("version", "--socket", "/nonexistent/s").out == f"tyger version {package.__version__}\n"
