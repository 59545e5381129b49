"""Clocks of the daemon."""

import datetime as dt
import email.utils

from tygerd import clock


def test_now_is_aware_and_utc():
    assert clock.now().utcoffset() == dt.timedelta(0)


def test_boottime_never_goes_back():
    assert 0 < clock.boottime() <= clock.boottime()


def test_moments_are_written_as_the_api_does():
    moment = dt.datetime(2024, 1, 25, 18, 20, 49, 951200, tzinfo=dt.UTC)
    assert clock.format(moment) == "2024-01-25T18:20:49.9512+00:00"
    assert clock.format().endswith("+00:00")


def test_the_http_date_is_now():
    moment = email.utils.parsedate_to_datetime(clock.http_date())
    assert abs((moment - clock.now()).total_seconds()) < 10
    assert clock.http_date().endswith("GMT")
