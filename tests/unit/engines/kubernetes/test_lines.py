"""Lines out of what a kubelet sends, whatever it is cut into; a model of the kubelet's own reading is
here."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tygerd.engines.kubernetes import lines
from tygerd.supervisor import log

START = 1_700_000_000_000_000_000
SECOND = 1_000_000_000


@dataclasses.dataclass(frozen=True)
class Piece:
    """A line of a container's log file: `full` with the line's end."""

    nanoseconds: int
    text: bytes
    full: bool = True


def answer(pieces: list[Piece], since: int | None) -> bytes:
    """What the kubelet (`ReadLogs` of k8s.io/cri-client, of 1.34) sends of a file, read there."""
    sent = b""
    new_line = True
    for piece in pieces:
        text = piece.text + b"\n" if piece.full else piece.text
        if since is None or piece.nanoseconds >= since * SECOND:
            stamp = log.timestamp(piece.nanoseconds).encode() + b" "
            sent += stamp + text if new_line else text
        new_line = not text or text.endswith(b"\n")
    return sent


def taken(cutter: lines.Cutter, *chunks: bytes, final: bool = True) -> list[bytes]:
    """The texts of an answer that came in these chunks."""
    found = [line for chunk in chunks for line in cutter.feed(chunk)]
    found += cutter.end(final=final)
    return [bytes(line.text) for line in found]


def in_chunks(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@st.composite
def files(draw: st.DrawFn) -> list[Piece]:
    """A file as a runtime writes it: times that mostly grow, many of them the same, long lines in pieces."""
    pieces: list[Piece] = []
    now = START
    for _ in range(draw(st.integers(0, 25))):
        now += draw(st.sampled_from([0, 0, 1, 1000, SECOND // 3, SECOND, 5 * SECOND]))
        text = draw(st.binary(max_size=6).map(lambda data: data.replace(b"\n", b"")))
        full = draw(st.sampled_from([True, True, True, False]))
        pieces.append(Piece(now, text if full or text else b"x", full))
    return pieces


def whole_lines(pieces: list[Piece]) -> list[bytes]:
    """What the container printed; the last may have no end."""
    texts = [b""]
    for piece in pieces:
        texts[-1] += piece.text
        if piece.full:
            texts.append(b"")
    return texts if texts[-1] else texts[:-1]


@given(files(), st.lists(st.integers(0, 400), max_size=6), st.integers(1, 50))
def test_breaks_lose_and_repeat_nothing(pieces: list[Piece], breaks: list[int], size: int) -> None:
    position = lines.Position()
    found: list[bytes] = []
    for length in breaks:
        sent = answer(pieces, position.since)[:length]
        found += taken(lines.Cutter(position), *in_chunks(sent, size), final=False)
        position = lines.Position.decode(json.loads(json.dumps(position.encode())))
    found += taken(lines.Cutter(position), *in_chunks(answer(pieces, position.since), size))
    assert found == whole_lines(pieces)
    assert taken(lines.Cutter(position), answer(pieces, position.since)) == []


@given(files(), st.data())
def test_a_file_that_grows(pieces: list[Piece], data: st.DataObject) -> None:
    """Each answer is whole as far as the file goes then; an unfinished line waits for its end."""
    position = lines.Position()
    found: list[bytes] = []
    for end in sorted(data.draw(st.lists(st.integers(0, len(pieces)), max_size=4))):
        found += taken(lines.Cutter(position), answer(pieces[:end], position.since), final=False)
    found += taken(lines.Cutter(position), answer(pieces, position.since))
    assert found == whole_lines(pieces)


@given(files(), st.data())
def test_a_file_that_is_rotated_away_behind_us(pieces: list[Piece], data: st.DataObject) -> None:
    """What is in the new file is taken, even when lines of the same second were in the old one."""
    pieces = [
        dataclasses.replace(piece, full=True, nanoseconds=piece.nanoseconds + number)
        for number, piece in enumerate(pieces)
    ]
    end = data.draw(st.integers(0, len(pieces)))
    position = lines.Position()
    found = taken(lines.Cutter(position), answer(pieces[:end], None))
    found += taken(lines.Cutter(position), answer(pieces[end:], position.since))
    assert found == whole_lines(pieces)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=6), st.integers(1, 9), st.integers(0, 120))
def test_lines_that_are_too_long_to_be_held(lengths: list[int], limit: int, cut: int) -> None:
    """They come in parts, none of it twice, also where an answer breaks off within one."""
    pieces = [Piece(START + number, b"x" * length) for number, length in enumerate(lengths)]
    position = lines.Position()
    sent = answer(pieces, None)[:cut]
    found = taken(lines.Cutter(position, limit=limit), *in_chunks(sent, 7), final=False)
    found += taken(lines.Cutter(position, limit=limit), answer(pieces, position.since))
    assert b"".join(found) == b"".join(whole_lines(pieces))


def test_times_in_other_zones_and_spellings() -> None:
    sent = b"2026-11-28T23:00:00.5+01:00 a\n2026-11-28T22:00:00Z b\n2026-11-28T22:00:00.123456789Z c\n"
    cutter = lines.Cutter(lines.Position())
    assert [line.nanoseconds % 100_000 for line in cutter.feed(sent)] == [0, 0, 56789]
    (first,) = lines.Cutter(lines.Position()).feed(b"2026-11-28T23:00:00.5+01:00 a\n")
    assert log.timestamp(first.nanoseconds) == "2026-11-28T22:00:00.500000000Z"


@pytest.mark.parametrize(
    "words",
    [
        b"unable to retrieve container logs for containerd://1f",
        b"2026-13-28T23:00:00.000000000Z no such month",
        b"2026-13-28T23:00:00.0+01:00 no such month",
        b"",
    ],
)
def test_words_of_the_kubelet_are_no_output(words: bytes) -> None:
    cutter = lines.Cutter(lines.Position())
    assert taken(cutter, b"2026-11-28T22:00:00.000000000Z a\n" + words + b"\n") == [b"a"]
    assert cutter.strangers == [words.decode()]
    assert taken(lines.Cutter(lines.Position()), words, final=False) == []


def test_a_clock_that_is_set_back() -> None:
    """Before a break. In a break, what was printed of the time that is over already is not sent any more."""
    pieces = [Piece(START + shift * SECOND, b"%d" % shift) for shift in (0, 1, 2, -2, -1, 0, 1)]
    for end in (0, *range(4, len(pieces))):
        position = lines.Position()
        found = taken(lines.Cutter(position), answer(pieces[:end], None))
        found += taken(lines.Cutter(position), answer(pieces, position.since))
        assert found == whole_lines(pieces), end


def test_a_last_line_without_a_newline_says_so() -> None:
    cutter = lines.Cutter(lines.Position())
    sent = answer([Piece(START, b"a"), Piece(START + 1, b"end", full=False)], None)
    assert [line.whole for line in [*cutter.feed(sent), *cutter.end(final=True)]] == [True, False]


def test_no_position_is_refused() -> None:
    with pytest.raises(ValueError, match="position"):
        lines.Position.decode(["no"])
