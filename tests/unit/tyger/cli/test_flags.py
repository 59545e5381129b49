"""The grammar of flag values, contract cli.md 1.4 and 1.5."""

import pytest

from tests.support import cli
from tyger import __main__ as program
from tyger.cli import flags, gotext


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("a=b", [("a", "b")]),
        ("a=b,c", [("a", "b,c")]),
        ("a=b,c=d", [("a", "b"), ("c", "d")]),
        ("a=b=c", [("a", "b=c")]),
        ('"a=b"', [("a", "b")]),
        ('a=b,"c=d,e"', [("a", "b"), ("c", "d,e")]),
        ("a=", [("a", "")]),
        ("=x", [("", "x")]),
    ],
)
def test_map_flags(text, pairs):
    assert flags.parse_pairs(text) == pairs


@pytest.mark.parametrize(("text", "part"), [("a", "a"), ("a=b=c,d", "d"), ("", "")])
def test_map_flags_need_an_equals_sign(text, part):
    with pytest.raises(ValueError, match=f"^{part} must be formatted as key=value$"):
        flags.parse_pairs(text)


def test_repeats_merge_and_the_last_wins(tyger, daemon):
    tyger("buffer", "create", "--tag", "a=1", "--tag", "b=2,c=3", "--tag", "a=4")
    assert daemon.asked("POST", "/buffers")[0].body == {"tags": {"a": "4", "b": "2", "c": "3"}}


def test_statuses_in_any_case_listed_and_repeated(tyger, daemon):
    daemon.answers["GET", "/runs"] = (200, {"items": []})
    tyger("run", "list", "--status", "Running,failed", "--status", "FAILED")
    assert daemon.requests[0].query[1:] == [("status", "Running"), ("status", "Failed")]


@pytest.fixture
def offline(capfd):
    """Call a command in this process that needs no daemon."""

    def call(*arguments):
        code = program.run(["--socket", "/nonexistent/s", *arguments])
        return cli.Done(code, *capfd.readouterr())

    return call


def first_line(done):
    assert done.code == 64
    assert done.out == ""
    return done.err.splitlines()[0]


SIZES = "; give a number and a unit, such as 4MiB, 512KB or 1G"
DURATIONS = "; give a number and a unit, such as 90s, 1.5h or 500ms"


@pytest.mark.parametrize(
    ("arguments", "flag", "why"),
    [
        (["run", "create", "--timeout", "5"], "--timeout", f'time: missing unit in duration "5"{DURATIONS}'),
        (["run", "create", "--timeout", "x"], "--timeout", f'time: invalid duration "x"{DURATIONS}'),
        (["run", "create", "-r", "two"], "-r, --replicas", "'two' is not a whole number"),
        (["run", "create", "-r", ""], "-r, --replicas", "'' is not a whole number"),
        (["run", "create", "-b", 'a="x"=y'], "-b, --buffer", 'parse error on line 1, column 3: bare " in '),
        (["run", "create", "--tag", "a\nb"], "--tag", "a\\nb must be formatted as key=value"),
        (["run", "list", "--limit", "many"], "-l, --limit", "'many' is not a whole number"),
        (["run", "list", "--limit", "9" * 20], "-l, --limit", f"'{'9' * 20}' is out of range"),
        (
            ["run", "list", "--status", "Running,done"],
            "--status",
            "must be 'canceled', 'canceling', 'failed', 'pending', 'running', 'succeeded'",
        ),
        (["run", "exec", "--on-exit", "stay"], "--on-exit", "must be 'cancel', 'detach'"),
        (["buffer", "write", "--priority", ""], "--priority", "must be 'bulk', 'live'"),
        (["codespec", "create", "x", "--endpoint", "a=b"], "--endpoint", "'b' is not a whole number"),
        (["codespec", "create", "x", "--endpoint", "a=0x1"], "--endpoint", "'0x1' is not a whole number"),
        (["codespec", "create", "x", "--endpoint", "a"], "--endpoint", "a must be formatted as key=value"),
        (["codespec", "create", "x", "-i", '"a'], "-i, --input", "parse error on line 1, column 3: ex"),
        (["--log-level", "loud", "status"], "--log-level", "must be 'debug', 'error', 'info', 'trace',"),
        (["--log-format", "xml", "status"], "--log-format", "must be 'json', 'plain', 'pretty'"),
    ],
)
def test_a_bad_value_says_of_which_flag_and_why(offline, arguments, flag, why):
    value = arguments[-1] if arguments[-1] != "status" else arguments[1]
    said = f'Error: invalid argument {gotext.quote(value)} for "{flag}" flag: {why}'
    assert first_line(offline(*arguments)).startswith(said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["buffer", "create", "--ttl", "1d"], "invalid TTL format: '1d'; give D, D.HH, D.HH:MM or"),
        (["buffer", "create", "--ttl", "1.24"], "invalid hours in TTL format: '1.24'; they go to 23"),
        (["buffer", "set", "x", "--ttl", "2.00:60"], "invalid minutes in TTL format: '2.00:60'; they go"),
        (["buffer", "set", "x", "--ttl", "2.00:00:61"], "invalid seconds TTL format: '2.00:00:61'; they"),
        (["run", "create", "--buffer-access-ttl", "x"], "invalid TTL format: 'x'; give"),
        (["run", "create", "--buffer-ttl", "3"], "invalid buffer TTL format: 3 (should be D.HH:MM)"),
        (["run", "exec", "--block-size", "0"], "a block has at least one byte"),
        (["run", "exec", "--block-size", "10k"], "units: unknown unit kB in 10kB; give a number and a unit"),
        (["run", "list", "--since", "30m"], "failed to parse time 30m; write"),
        (["buffer", "gen", "10k"], f"units: unknown unit kB in 10kB{SIZES}"),
        (["buffer", "gen", "10M512K"], f"units: unknown unit M in 10M512KB{SIZES}"),
        (["buffer", "gen", ""], f"units: invalid B{SIZES}"),
    ],
)
def test_a_bad_value_that_the_original_looks_at_later(offline, arguments, said):
    assert first_line(offline(*arguments)).startswith(f"Error: {said}")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["buffer", "read", "x", "--dop", "0"], "the degree of parallelism (dop) must be at least 1"),
        (["buffer", "write", "x", "-p-3"], "the degree of parallelism (dop) must be at least 1"),
        (["run", "exec", "--read-dop", "0"], "the degree of parallelism (dop) must be at least 1"),
        (
            ["buffer", "write", "x", "-b", "10k"],
            f'Invalid block size error="units: unknown unit kB in 10kB{SIZES}"',
        ),
        (
            ["buffer", "write", "x", "-f", "5"],
            f'Invalid flush interval error="time: missing unit in duration \\"5\\"{DURATIONS}"',
        ),
        (["buffer", "write", "x", "-f", "-1s"], 'Invalid flush interval error="it cannot be negative"'),
        (
            ["buffer", "access", "x", "--access-ttl", "1.24"],
            "Invalid access TTL format error=\"invalid hours in TTL format: '1.24'; they go to 23\"",
        ),
    ],
)
def test_a_bad_value_that_is_fatal(offline, arguments, said):
    done = offline(*arguments)
    assert first_line(done).partition(" FTL ")[2] == said
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("text", ["1d", "-1", "1.", "1.0", "1.000", ".00", "1:00:00:00", "1.24", "2.00:60"])
def test_ttls_that_the_contract_refuses(offline, text):
    assert "TTL format: '" in first_line(offline("buffer", "create", f"--ttl={text}"))


@pytest.mark.parametrize(
    ("text", "sent"),
    [("0.01:02", "0.01:02"), ("9.99:99", "9.99:99"), ("1.02:03:04", "1.02:03:04")],
)
def test_a_buffer_ttl_is_sent_unchanged(tyger, daemon, text, sent):
    tyger("run", "create", "-c", "x", "--buffer-ttl", text)
    assert daemon.asked("POST", "/runs")[0].body["job"]["bufferTtl"] == sent


def test_the_base_of_a_number_may_be_another(tyger, daemon):
    daemon.answers["GET", "/runs"] = (200, {"items": []})
    tyger("run", "list", "--limit", "0x10")
    assert daemon.requests[0].query == [("limit", "16")]


def test_flags_that_are_on_or_off_may_say_so(tyger, daemon):
    daemon.answers["GET", "/buffers/x"] = (200, {"id": "x"})
    tyger("buffer", "show", "x", "--soft-deleted=true")
    tyger("buffer", "show", "x", "--soft-deleted=false")
    assert [request.query for request in daemon.requests] == [[("softDeleted", "true")], []]
