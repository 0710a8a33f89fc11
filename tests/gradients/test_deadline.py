"""What is left of the time."""

import math

import pytest

from cnnjax.gradients.deadline import NO_DEADLINE, TIME_IS_UP, Deadline, TimeIsUpError


def test_a_part_ends_earlier():
    deadline = Deadline.after(100.0)
    assert 99 < deadline.left <= 100
    assert 24 < deadline.part(0.25).left <= 25
    assert not deadline.is_up


def test_nothing_is_left_after_it():
    past = Deadline.after(-1.0)
    assert past.is_up
    assert past.left == past.part(0.5).left == 0.0


def test_without_a_limit_no_part_has_one():
    assert NO_DEADLINE.part(0.5).left == math.inf
    assert not NO_DEADLINE.is_up


def test_an_iterator_ends_in_time_or_not_at_all():
    assert [*NO_DEADLINE.within(range(3))] == [0, 1, 2]
    with pytest.raises(TimeIsUpError, match=TIME_IS_UP.split("(")[0]):
        next(Deadline.after(-1.0).within(range(3)))
