"""Logs of runs, contract rest-api.md section 10: live, followed, archived; their lines and what is left out."""

import re
import threading

import pytest

from tests.support import exchanges, runs
from tests.support.answers import ask, bad

V = "api-version=1.0"
CONFIG = runs.CONFIG.replace("cancel_grace = 1", "cancel_grace = 60")
HEAD = "< 200 OK\n< Transfer-Encoding: chunked\n"  # no Content-Type
STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z) (.*)")


def start_following(talk, run_id, query=""):
    """Ask for a log that is followed; its head comes before there is a line."""
    talk.hold(ask("GET", f"/runs/{run_id}/logs?follow=true{query}&{V}"))
    talk.hear_head(HEAD)


@pytest.fixture(scope="module")
def ended(host):
    """A run that has ended, its log archived: five lines and their times."""
    with runs.gate(host) as gate, exchanges.talk(host.socket) as talk, exchanges.talk(host.socket) as other:
        # Which of two outputs came first is known where the other one was quiet then.
        text = f"for i in 1 2 3; do echo line $i; done; {gate.wait}; echo oops >&2; {gate.wait}; printf last"
        made = runs.create(talk, runs.shell(text))
        start_following(other, made["id"])
        assert [other.line() for _ in range(3)] == ["line 1", "line 2", "line 3"]
        gate.open()
        assert other.line() == "oops"
        gate.open()
        assert runs.ended(talk, made["id"])["status"] == "Succeeded"
        stamped = runs.log(talk, made["id"], "&timestamps=true")
    times, lines = zip(*(STAMP.fullmatch(line).groups() for line in stamped.split("\n")), strict=True)
    assert lines == ("line 1", "line 2", "line 3", "oops", "last")
    return made["id"], times, stamped


def test_the_lines_of_an_archive(talk, ended):
    run_id, times, stamped = ended
    assert runs.log(talk, run_id) == "line 1\nline 2\nline 3\noops\nlast"
    assert runs.log(talk, run_id, "&timestamps=false&follow=false") == "line 1\nline 2\nline 3\noops\nlast"
    assert list(times) == sorted(times)
    # Following what has ended gives all of it and ends.
    start_following(talk, run_id)
    assert talk.rest() == "line 1\nline 2\nline 3\noops\nlast"
    start_following(talk, run_id, "&timestamps=TRUE")
    assert talk.rest() == stamped


@pytest.mark.parametrize(
    ("tail", "lines"),
    [
        ("0", ""),
        ("1", "last"),
        ("2", "oops\nlast"),
        ("5", None),
        ("99", None),
        ("2147483647", None),
        ("-1", ""),
    ],
)
def test_the_last_lines(talk, ended, tail, lines):
    expected = "line 1\nline 2\nline 3\noops\nlast" if lines is None else lines
    assert runs.log(talk, ended[0], f"&tailLines={tail}") == expected
    start_following(talk, ended[0], f"&tailLines={tail}")
    assert talk.rest() == expected


def test_later_than(talk, ended):
    run_id, times, stamped = ended
    lines = stamped.split("\n")
    for number, time in enumerate(times):
        # Strictly, to the nanosecond: a client that comes back names its last line.
        assert runs.log(talk, run_id, f"&timestamps=true&since={time}") == "\n".join(lines[number + 1 :])
        before = f"{time[:-2]}{max(int(time[-2]) - 1, 0)}Z"
        if before != time:
            assert runs.log(talk, run_id, f"&timestamps=true&since={before}") == "\n".join(lines[number:])
    assert runs.log(talk, run_id, f"&since={times[0]}&tailLines=2") == "oops\nlast"
    assert runs.log(talk, run_id, f"&since={times[3]}&tailLines=2") == "last"
    assert runs.log(talk, run_id, "&since=2999-01-01T00:00:00Z") == ""
    assert runs.log(talk, run_id, "&since=0001-01-01T00:00:00Z") == "line 1\nline 2\nline 3\noops\nlast"
    assert runs.log(talk, run_id, "&since=2000-01-01T00:00:00.5%2B02:00&tailLines=1") == "last"


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("tailLines=x", "Nullable<int> tailLines"),
        ("tailLines=2147483648", "Nullable<int> tailLines"),
        ("tailLines=", "Nullable<int> tailLines"),
        ("since=yesterday", "Nullable<DateTimeOffset> since"),
        ("follow=maybe", "bool follow"),
        ("timestamps=1", "bool timestamps"),
    ],
)
@pytest.mark.parametrize("run_id", ["1", "999999"])
def test_parameters_that_do_not_bind(talk, ended, query, shown, run_id):
    value = query.partition("=")[2]
    talk.hold(
        ask("GET", f"/runs/{run_id}/logs?{query}&{V}")
        + bad(f'Failed to bind parameter "{shown}" from "{value}".')
    )


def test_following(talk, host):
    """Each line as soon as there is one, the last ones with the end, nothing twice."""
    with runs.gate(host) as gate, exchanges.talk(host.socket) as other:
        made = runs.create(
            talk, runs.shell(f"while {gate.wait} && test $line; do echo $line; done; echo end >&2; exit 1")
        )
        start_following(other, made["id"])
        for word in ("one", "two"):
            gate.open(word)
            assert other.line() == word
        # As a client does that lost its stream: from behind the last line that it has seen.
        stamped = runs.log(talk, made["id"], "&timestamps=true").splitlines()
        with exchanges.talk(host.socket) as again:
            start_following(again, made["id"], f"&timestamps=true&since={stamped[0].split()[0]}")
            assert again.line() == stamped[1]
            gate.open("three")
            assert other.line() == STAMP.fullmatch(again.line())[2] == "three"
            assert runs.log(talk, made["id"], "&tailLines=1") == "three\n"
            gate.open()
            assert (other.rest(), STAMP.fullmatch(again.rest().strip())[2]) == ("end\n", "end")
        assert runs.ended(talk, made["id"])["statusReason"] == "Main exited with code 1"


def test_a_reader_goes_on_behind_any_line(talk):
    """As the original's client does, which knows of a line only its time: also of lines that came at once."""
    made = runs.create(talk, runs.shell("seq 3000; seq 3001 3003 >&2"))
    start_following(talk, made["id"], "&timestamps=true")
    lines = talk.rest().splitlines()
    stamps = [line.split()[0] for line in lines]
    assert len(lines) == len(set(stamps)) == 3003
    assert stamps == sorted(stamps)
    for number in (0, 1, 1500, 2998, 3001, 3002):
        start_following(talk, made["id"], f"&timestamps=true&since={stamps[number]}")
        assert talk.rest().splitlines() == lines[number + 1 :]


def test_a_log_that_is_still_empty(talk, host):
    with runs.gate(host) as gate, exchanges.talk(host.socket) as other:
        made = runs.create(talk, runs.shell(gate.wait))
        start_following(other, made["id"])
        assert runs.log(talk, made["id"]) == ""
        gate.open()
        assert other.rest() == ""
        assert runs.log(talk, made["id"]) == ""


def test_a_reader_that_leaves_disturbs_nobody(talk, host):
    with runs.gate(host) as gate:
        made = runs.create(talk, runs.shell(f"echo first; {gate.wait}; echo second"))
        with exchanges.talk(host.socket) as other:
            start_following(other, made["id"])
            assert other.line() == "first"
        gate.open()
        start_following(talk, made["id"])
        assert talk.rest() == "first\nsecond\n"


def test_prefixes(talk):
    """Where there are buffers, because there the original has other containers than main."""
    made = runs.create(talk, runs.shell("echo hello; echo oops >&2", outputs=["out"]))
    start_following(talk, made["id"])
    assert sorted(talk.rest().splitlines()) == ["[main] hello", "[main] oops"]
    stamped = runs.log(talk, made["id"], "&timestamps=true&tailLines=1")
    assert STAMP.fullmatch(stamped.removesuffix("\n"))[2].startswith("[main] ")


def test_lines_of_two_megabytes(talk):
    text = "head -c 2000000 /dev/zero | tr '\\0' x; echo; echo short; head -c 2000000 /dev/zero | tr '\\0' y"
    made = runs.create(talk, runs.shell(text))
    start_following(talk, made["id"], "&timestamps=true")
    live = [STAMP.fullmatch(line)[2] for line in talk.rest().split("\n")]
    assert live == ["x" * 2_000_000, "short", "y" * 2_000_000]
    assert runs.ended(talk, made["id"])["status"] == "Succeeded"
    assert runs.log(talk, made["id"]).split("\n") == live
    assert runs.log(talk, made["id"], "&tailLines=2").split("\n") == live[1:]


def test_bytes_that_are_no_text(talk):
    made = runs.create(talk, runs.shell(r"printf '\t\033[1mbold\033[0m\r\n\n  \n'"))
    runs.ended(talk, made["id"])
    assert runs.log(talk, made["id"]) == "\t\x1b[1mbold\x1b[0m\r\n\n  \n"


def test_the_log_of_a_run_that_is_cancelled(talk, host):
    with exchanges.talk(host.socket) as other:
        made = runs.create(
            talk, runs.shell("trap 'echo bye; exit' TERM; echo before; while :; do sleep 0.02; done")
        )
        start_following(other, made["id"])
        assert other.line() == "before"
        talk.hold(
            ask("POST", f"/runs/[[id]]/cancel?{V}")
            + "< 202 Accepted\n< Content-Type: application/json; charset=utf-8\n<\n< [[:any]]\n"
        )
        # Its child got the signal, too, of which a shell may have a word to say, before or after its own.
        rest = other.rest().splitlines()
        assert sorted({"bye", "Terminated", *rest}) == ["Terminated", "bye"]
        assert rest.count("bye") == 1
        assert runs.log(talk, made["id"]).splitlines() == ["before", *rest]


def test_a_log_over_a_crash_of_the_daemon(host):
    with runs.gate(host) as gate:
        with exchanges.talk(host.socket) as talk, exchanges.talk(host.socket) as other:
            made = runs.create(talk, runs.shell(f"echo before; {gate.wait}; echo after"))
            start_following(other, made["id"], "&timestamps=true")
            last, _ = STAMP.fullmatch(other.line()).groups()
            host.restart()
            assert other.closed()  # a cut, not an end
        threading.Thread(target=gate.open).start()
        with exchanges.talk(host.socket) as again:
            start_following(again, made["id"], f"&since={last}")
            assert again.rest() == "after\n"
            assert runs.log(again, made["id"]) == "before\nafter\n"
