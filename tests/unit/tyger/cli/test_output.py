"""Layouts, log records, the live line."""

import contextlib
import json
import os
import re

import pytest

from tyger import errors
from tyger.cli import fields, output

ITEM = {"name": "a<b>&", "location": "", "endpoint": "e"}
TABLE = fields.Table("name", "endpoint")


@pytest.fixture
def console():
    return output.Console({})


def printed(capfd, print_it, *arguments):
    print_it(*arguments)
    return capfd.readouterr().out


def test_one_object(console, capfd):
    assert printed(capfd, console.one, TABLE, ITEM) == (
        '{\n  "name": "a\\u003cb\\u003e\\u0026",\n  "endpoint": "e"\n}\n'
    )


def test_a_list_of_one_page_is_four_further_in(console, capfd):
    assert printed(capfd, console.page, TABLE, [ITEM | {"name": "a"}] * 2) == (
        '[\n    {\n      "name": "a",\n      "endpoint": "e"\n    },\n'
        '    {\n      "name": "a",\n      "endpoint": "e"\n    }\n  ]\n'
    )
    assert printed(capfd, console.page, TABLE, []) == "[]\n"


def test_a_list_that_comes_in_parts(console, capfd):
    items = [{"id": str(number)} for number in range(5)]
    table = fields.Table("id")
    parts = [*console.rows(table, items[:2]), *console.rows(table, []), *console.rows(table, items[2:])]
    lines = ",\n".join(f'  {{\n    "id": "{number}"\n  }}' for number in range(5))
    assert printed(capfd, console.pages_of, iter(parts)) == f"[\n{lines}\n]\n"
    assert printed(capfd, console.page_of, parts) == printed(capfd, console.page, table, items)


def test_a_list_of_several_pages(console, capfd):
    rows = console.rows(TABLE, [ITEM | {"name": "a"}] * 2)
    assert printed(capfd, console.pages_of, rows) == (
        '[\n  {\n    "name": "a",\n    "endpoint": "e"\n  },\n'
        '  {\n    "name": "a",\n    "endpoint": "e"\n  }\n]\n'
    )


def test_a_codespec_is_oddly_indented(console, capfd):
    assert printed(capfd, console.codespec, {"kind": "job", "image": "x"}) == (
        '{\n    "kind": "job",\n    "image": "x"\n  }\n'
    )


def test_compact_lines():
    assert output.dumps({"a": [1, "ü\u2028"]}) == '{"a":[1,"ü\\u2028"]}'


def test_a_plain_record(console, capfd):
    console.log("info", "Run status changed", status="Running", runId=7, error="x y", ok=True)
    record = capfd.readouterr().err
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(Z|[-+]\d\d:\d\d) INF Run status changed "
        r'error="x y" ok=true runId=7 status=Running\n',
        record,
    )


def test_a_json_record(console, capfd):
    console.format = "json"
    console.log("warn", "m", a=1)
    record = json.loads(capfd.readouterr().err)
    assert list(record) == ["level", "a", "time", "message"]
    assert (record["level"], record["a"], record["message"]) == ("warn", 1, "m")


def test_colours_in_pretty_records_unless_forbidden(capfd):
    for environ, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        console = output.Console(environ)
        console.format = "pretty"
        console.log("info", "m", a=1)
        assert ("\x1b[" in capfd.readouterr().err) is coloured


def test_records_below_the_level_are_dropped_but_fatal_ones_never(console, capfd):
    console.level = "error"
    console.log("warn", "m")
    console.log("fatal", "n")
    assert [line.split(" ")[1:] for line in capfd.readouterr().err.splitlines()] == [["FTL", "n"]]


def test_an_error_keeps_the_lines_that_are_to_be_copied(console, capfd):
    console.error("add these lines:\n[engine]\n")
    assert capfd.readouterr().err == "Error: add these lines:\n[engine]\n"


def test_a_closed_standard_output():
    with pytest.raises(errors.Problem, match="standard output is closed"):
        output.Console({}, frozenset({1})).data("x")


def test_without_a_terminal_there_is_no_live_line(console, capfd):
    console.live("x")
    assert not console.has_live_line
    assert capfd.readouterr().err == ""


def test_records_are_printed_above_the_live_line():
    leader, follower = os.openpty()
    saved = os.dup(2)
    os.dup2(follower, 2)
    try:
        console = output.Console({"TERM": "xterm"})
        console.live("alive")
        console.raw(b"log line")
        console.live("")
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(follower)
    shown = b""
    with contextlib.suppress(OSError):  # EIO: nobody writes to the terminal any more
        while piece := os.read(leader, 4096):
            shown += piece
    os.close(leader)
    assert shown == b"alive\r\x1b[2Klog line\r\nalive\r\x1b[2K"


def test_a_non_blocking_standard_output_is_waited_for(console):
    reader, writer = os.pipe2(os.O_NONBLOCK)
    saved = os.dup(1)
    os.dup2(writer, 1)
    os.close(writer)
    received = bytearray()
    try:
        import threading

        done = threading.Event()

        def drain():
            import select

            while len(received) < 300_000:
                select.select([reader], [], [])
                received.extend(os.read(reader, 65536))
            done.set()

        thread = threading.Thread(target=drain)
        thread.start()
        console.data(b"x" * 300_000)
        assert done.wait(60)
        thread.join()
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        os.close(reader)


def test_half_a_surrogate_pair_is_printed_as_what_it_is_not(console, capfd):
    assert printed(capfd, console.json, ["a\ud800b"]) == '[\n  "a\ufffdb"\n]\n'
