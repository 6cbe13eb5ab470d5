"""Leaving bad exhibits out: one is reported, more than 10 % stop the run."""

import logging

import pytest

from musequest.errors import MuseQuestError, leave_out


def test_a_single_bad_exhibit_is_reported_and_left_out(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING, logger="musequest"):
        leave_out(["row 3: its photo is empty."], 5, "exhibits.csv")
    assert caplog.messages == ["Left out: row 3: its photo is empty."]


@pytest.mark.parametrize(("bad", "total"), [(2, 5), (2, 19), (3, 29), (1, 1), (0, 0)])
def test_too_many_bad_exhibits_stop_the_run(bad: int, total: int):
    with pytest.raises(MuseQuestError, match=f"exhibits.csv: {bad} of {total} exhibits"):
        leave_out(["bad"] * bad, total, "exhibits.csv")


@pytest.mark.parametrize(("bad", "total"), [(0, 3), (1, 2), (2, 20), (3, 30)])
def test_few_bad_exhibits_do_not(bad: int, total: int):
    leave_out(["bad"] * bad, total, "exhibits.csv")
