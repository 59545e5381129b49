"""What one life of the pump leaves to the next."""

import pytest

from tygerd.streams import podlife


@pytest.fixture
def lives(tmp_path):
    return podlife.Lives(str(tmp_path), str(tmp_path / "last-words"))


def test_the_first_life_has_no_past(lives):
    assert lives.earlier() is None


def test_a_life_that_was_cut_has_failed(lives, tmp_path):
    lives.begin()
    again = lives.earlier()
    assert (again.stage, again.reason) == ("failed", podlife.LOST)
    lives.end(again)
    assert (tmp_path / "last-words").read_text() == podlife.LOST
    assert lives.earlier() == again


@pytest.mark.parametrize("stage", ["served", "done"])
def test_a_life_that_had_done_its_work(lives, tmp_path, stage):
    lives.begin()
    lives.end(podlife.Life(stage))
    assert lives.earlier() == podlife.Life(stage)
    assert not (tmp_path / "last-words").exists()


def test_words_are_kept_and_cut_to_what_comes_through(lives, tmp_path):
    lives.begin()
    reason = "socket 80: ü" + "ü" * 3000
    lives.end(podlife.Life("failed", reason))
    said = (tmp_path / "last-words").read_bytes()
    assert 4090 < len(said) <= podlife.MOST
    assert reason.startswith(said.decode())
    assert lives.earlier() == podlife.Life("failed", reason)


def test_nobody_need_hear_the_last_words(tmp_path):
    lives = podlife.Lives(str(tmp_path), "/dev/nowhere/log")
    lives.begin()
    lives.end(podlife.Life("failed", "x"))
    assert lives.earlier() == podlife.Life("failed", "x")
