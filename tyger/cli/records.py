"""One log record as text: plain, coloured or JSON (contract cli.md 1.3). Pure: the time is a parameter."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping

from tyger.cli import gotext

_MARKS = {"trace": "TRC", "debug": "DBG", "info": "INF", "warn": "WRN", "error": "ERR", "fatal": "FTL"}
_COLOURS = {"trace": 34, "debug": 33, "info": 32, "warn": 33, "error": 31, "fatal": 31}

_PLAIN = re.compile(r"[!#-\[\]-~]*")  # no blank, quote, backslash, nor anything outside printable ASCII

_NOT_IN_JSON = re.compile("[\x7f\ud800-\udfff]")  # what Go's loggers do not write as it is, beyond Python


def text(stamp: str, level: str, message: str, values: Mapping[str, object], *, colours: bool) -> str:
    """`2026-11-23T06:30:22.352+01:00 INF Run status changed runId=7`; fields sorted, `error` first."""
    names = sorted(values, key=lambda name: (name != "error", name))
    mark = _MARKS[level]
    if colours:
        stamp, mark = f"\x1b[90m{stamp}\x1b[0m", f"\x1b[{_COLOURS[level]}m{mark}\x1b[0m"
        pairs = [f"\x1b[36m{name}=\x1b[0m{value(values[name])}" for name in names]
        message = f"\x1b[1m{message}\x1b[0m" if message else ""
    else:
        pairs = [f"{name}={value(values[name])}" for name in names]
    return " ".join(part for part in (stamp, mark, message, *pairs) if part)


def as_json(stamp: str, level: str, message: str, values: Mapping[str, object]) -> str:
    """One object: level, fields as they were given, time, message (left out where there is none)."""
    record = {"level": level, **values, "time": stamp, **({"message": message} if message else {})}
    written = json.dumps(record, separators=(",", ":"), ensure_ascii=False, default=str)
    return _NOT_IN_JSON.sub(lambda odd: "\\u007f" if odd[0] == "\x7f" else "\\ufffd", written)


def value(content: object) -> str:
    """A field's value: text bare where it is one plain word, else quoted; all else as JSON."""
    if not isinstance(content, str):
        return json.dumps(content, separators=(",", ":"), ensure_ascii=False, default=str)
    return content if _PLAIN.fullmatch(content) else gotext.quote(content)


def milliseconds(nanoseconds: int) -> str:
    """Local time of an instant (since 1970), `2026-11-23T06:30:22.352+01:00`; `Z` where that is UTC."""
    whole, rest = divmod(nanoseconds, 10**9)
    day, zone = _local(whole)
    return f"{day}.{rest // 10**6:03}{zone}"


def all_digits(nanoseconds: int) -> str:
    """As `milliseconds`, with as many digits of the second as it takes, none for a whole one."""
    whole, rest = divmod(nanoseconds, 10**9)
    day, zone = _local(whole)
    return f"{day}{f'.{rest:09}'.rstrip('0') if rest else ''}{zone}"


def _local(seconds: int) -> tuple[str, str]:
    moment = dt.datetime.fromtimestamp(seconds, dt.UTC).astimezone()
    shown = moment.isoformat()
    zone = shown[19:]
    return shown[:19], "Z" if zone == "+00:00" else zone
