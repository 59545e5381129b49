"""The first cause of an end stays; main's own failure is one."""

from __future__ import annotations

import select

import pytest

from tygerd.supervisor import ending


@pytest.fixture
def end():
    made = ending.Ending()
    yield made
    made.close()


def test_success_is_what_is_left(end):
    assert not end.failed
    end.exited(0)
    assert end.result() == ("Succeeded", None, 0)


def test_the_first_cause_stays(end):
    end.cancel("Canceled by user")
    end.fail("later")
    end.exited(137, "Main exited with code 137 (SIGKILL)")
    assert end.wanted
    assert end.result() == ("Canceled", "Canceled by user", 137)


def test_main_that_failed_is_not_excused_by_what_follows(end):
    end.exited(2, "Main exited with code 2")
    end.fail("its pipe broke")
    assert end.result() == ("Failed", "Main exited with code 2", 2)


def test_a_transfer_may_still_fail_after_main_succeeded(end):
    end.exited(0)
    end.fail("the disk is full")
    assert end.result() == ("Failed", "the disk is full", 0)


@pytest.mark.parametrize(
    ("code", "text"), [(1, "1"), (127, "127"), (137, "137 (SIGKILL)"), (139, "139 (SIGSEGV)"), (255, "255")]
)
def test_exit_codes_in_words(code, text):
    assert ending.describe(code) == text


def test_over_stays_readable(end):
    assert not select.select([end.over], [], [], 0)[0]
    end.finish()
    for _ in range(2):
        assert select.select([end.over], [], [], 0)[0]


def test_changed_is_readable_until_it_is_acknowledged(end):
    end.report()
    end.report()
    end.acknowledge()
    assert not select.select([end.changed], [], [], 0)[0]


def test_what_main_ends_with_says_nothing_once_it_has_served(end):
    end.serve()
    assert end.wanted
    end.exited(143, "Main exited with code 143 (SIGTERM)")
    end.cancel("Canceled by user")
    assert end.result() == ("Succeeded", None, None)


def test_who_hears_late_of_mains_end_waits_longer(end):
    slow = ending.Ending(settle=5.0)
    assert (end.settle, slow.settle) == (ending.SETTLE, 5.0)
    slow.close()
