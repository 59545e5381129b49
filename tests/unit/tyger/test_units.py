from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tyger import errors, units


def refuses(parse, text):
    with pytest.raises(errors.Problem) as caught:
        parse(text)
    assert caught.value.kind is errors.INVALID_INPUT
    assert ascii(text)[1:-1] in caught.value.message or text in caught.value.message
    assert "\n" not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("16M", 16 << 20),
        ("16MB", 16 << 20),
        ("16MiB", 16 << 20),
        ("1.5M", 1572864),
        ("1MB512KB", (1 << 20) + (512 << 10)),
        ("1MiB512KiB", (1 << 20) + (512 << 10)),
        ("1MB512K", (1 << 20) + (512 << 10)),
        ("7", 7),
        ("7B", 7),
        ("0", 0),
        ("-2K", -2048),
        ("+2K", 2048),
        (".5K", 512),
        ("1.K", 1024),
        ("1E", 1 << 60),
        ("8P", 8 << 50),
    ],
)
def test_sizes(text, size):
    assert units.parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10k",
        "10M512K",
        "1MB1KiB",
        "M",
        "1.2.3M",
        "1 M",
        "x",
        "10Mb",
        "1,5M",
        ".K",
        "\u0661M",
        "1M\n",
        "--1M",
    ],
)
def test_sizes_refused(text):
    refuses(units.parse_size, text)


def test_a_refused_size_names_the_unit():
    assert "'kB'" in refuses(units.parse_size, "10k")
    assert "mixed" in refuses(units.parse_size, "1MB1KiB")


@given(st.integers(min_value=0, max_value=1 << 70))
def test_sizes_round_trip(size):
    assert units.parse_size(units.format_size(size)) == size


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0B"), (4 << 20, "4MiB"), (1000, "1000B"), (1536, "1536B"), (1 << 60, "1EiB")]
)
def test_sizes_printed(size, text):
    assert units.format_size(size) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("300s", 300),
        ("1.5h", 5400),
        ("2h45m", 9900),
        ("500ms", 0.5),
        ("0", 0),
        ("-0", 0),
        ("0s", 0),
        ("1µs", 1e-6),
        ("1μs", 1e-6),
        ("1us", 1e-6),
        ("1ns", 1e-9),
        ("-1.5s", -1.5),
        (".5s", 0.5),
        ("1m1m", 120),
    ],
)
def test_durations(text, seconds):
    assert units.parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "1x", "1.2.3s", "s", "1 s", ".s", "1d", "1s\n", "-", "1S"])
def test_durations_refused(text):
    refuses(units.parse_duration, text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (90, "1m30s"),
        (5400, "1h30m0s"),
        (3600.5, "1h0m0.5s"),
        (0.5, "500ms"),
        (0.0015, "1.5ms"),
        (-2, "-2s"),
        (1e-6, "1µs"),
        (1e-9, "1ns"),
    ],
)
def test_durations_printed(seconds, text):
    assert units.format_duration(seconds) == text


@given(st.integers(min_value=-100 * 86400 * 10**9, max_value=100 * 86400 * 10**9))
@example(4_503_599_627_370_491)  # seconds * 10**9 would be rounded
def test_durations_round_trip(nanoseconds):
    seconds = nanoseconds / 10**9
    assert units.parse_duration(units.format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("1", "1.00:00:00"),
        (" 1.02 ", "1.02:00:00"),
        ("0.00:05", "0.00:05:00"),
        ("10.23:59:59", "10.23:59:59"),
    ],
)
def test_ttls(text, canonical):
    assert units.format_ttl(units.parse_ttl(text)) == canonical


@pytest.mark.parametrize(
    "text",
    [
        *("1d", "-1", "1.", "1.0", "1.000", ".00", "1:00:00:00", "1.24", "2.00:60"),  # the contract's list
        *("1.00:00:60", "1e3", "\u0661", "99999999999", "1.00:00:00.5", "1.00:0\n"),
    ],
)
def test_ttls_refused(text):
    refuses(units.parse_ttl, text)


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=10**6)))
def test_ttls_round_trip(ttl):
    whole = timedelta(days=ttl.days, seconds=ttl.seconds)
    assert units.parse_ttl(units.format_ttl(ttl)) == whole


@pytest.mark.parametrize(
    ("text", "span", "printed"),
    [
        ("0", timedelta(0), "00:00:00"),
        ("5", timedelta(days=5), "5.00:00:00"),
        ("1:30", timedelta(minutes=90), "01:30:00"),
        ("0.00:05", timedelta(minutes=5), "00:05:00"),
        ("00:01:00", timedelta(minutes=1), "00:01:00"),
        ("2.03:04:05.0000060", timedelta(2, 3 * 3600 + 4 * 60 + 5, 6), "2.03:04:05.0000060"),
        ("00:00:00.5", timedelta(seconds=0.5), "00:00:00.5000000"),
        ("-1.00:00", timedelta(days=-1), "-1.00:00:00"),
    ],
)
def test_time_spans(text, span, printed):
    assert units.parse_timespan(text) == span
    assert units.format_timespan(span) == printed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1.02",
        " 5",
        "24:00",
        "1:60",
        "1:00:60",
        "1:00:00.",
        "1:00:00.12345678",
        "x",
        "1:",
        "-",
        "10675200",
    ],
)
def test_time_spans_refused(text):
    refuses(units.parse_timespan, text)


@given(st.timedeltas(min_value=timedelta(days=-(10**6)), max_value=timedelta(days=10**6)))
def test_time_spans_round_trip(span):
    assert units.parse_timespan(units.format_timespan(span)) == span


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("2024-01-25T18:20:49.951262+00:00", "2024-01-25T18:20:49.951262+00:00"),
        ("2024-01-25T18:20:49.951262999Z", "2024-01-25T18:20:49.951262+00:00"),
        ("2024-01-25T18:20:49.9512629999999999Z", "2024-01-25T18:20:49.951262+00:00"),
        ("2024-01-25T18:20:49.9500Z", "2024-01-25T18:20:49.95+00:00"),
        ("2024-01-25T18:20:49Z", "2024-01-25T18:20:49+00:00"),
        ("2024-01-25T20:20+02:00", "2024-01-25T18:20:00+00:00"),
        ("2024-01-25 20:20:00+0200", "2024-01-25T18:20:00+00:00"),
        ("2024-01-25t13:20:00-05", "2024-01-25T18:20:00+00:00"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+00:00"),
    ],
)
def test_timestamps(text, printed):
    assert units.format_timestamp(units.parse_timestamp(text)) == printed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2024-01-25",
        "2024-01-25T18:20:49",
        "2024-02-30T00:00:00Z",
        "2024-01-25T24:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "2024-01-25T18:20:49+25:00",
        "2024-01-25T18:20:49.12345678901234567Z",
        "20240125T182049Z",
    ],
)
def test_timestamps_refused(text):
    refuses(units.parse_timestamp, text)


offsets = st.integers(min_value=-14 * 60, max_value=14 * 60).map(
    lambda minutes: timezone(timedelta(minutes=minutes))
)


@given(st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1), timezones=offsets))  # noqa: DTZ001 - hypothesis adds the zone
def test_timestamps_round_trip(moment):
    assert units.parse_timestamp(units.format_timestamp(moment)) == moment
    assert units.parse_timestamp(moment.isoformat()) == moment
    assert units.from_micros(units.to_micros(moment)) == moment


def test_micros():
    assert units.to_micros(datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=UTC)) == 1_000_005


@given(st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31), timezones=st.just(UTC)))  # noqa: DTZ001
@example(datetime(1970, 1, 1, tzinfo=UTC))
@example(datetime(2026, 1, 2, 3, 4, 50, 120_000, tzinfo=UTC))
def test_microseconds_are_printed_as_moments_are(moment):
    assert units.format_micros(units.to_micros(moment)) == units.format_timestamp(moment)
