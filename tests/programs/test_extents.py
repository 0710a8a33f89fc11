"""Intervals of the input that elements read, moved as arrays are, against the elements that move."""

from fractions import Fraction

import pytest

from cnnjax.programs.extents import of_input

START = of_input(0, (2, 12, 8, 3))
"""An image of 12 x 8 pixels."""


def numbers(extents):
    """For each axis of the input: size and jump of its interval, and the axes of the array along which it moves."""
    return [(i.size, i.jump, tuple(steps.axis for steps in i.steps)) for i in extents.intervals]


def test_an_input_reads_itself():
    assert numbers(START) == [(1, 1, (axis,)) for axis in range(4)]
    assert [START.input_axis(axis) for axis in range(5)] == [0, 1, 2, 3, None]


def test_windows_widen_intervals_by_jumps_and_strides_multiply_jumps():
    once = START.windowed(1, extent=5, stride=2, before=0, count=4)
    twice = once.windowed(1, extent=3, stride=2, before=1, count=2)
    assert numbers(once)[1] == (5, 2, (1,))
    assert numbers(twice)[1] == (9, 4, (1,))
    assert (twice.intervals[1].low, twice.intervals[1].high) == (-2, 6)
    assert numbers(twice)[2] == (1, 1, (2,))


def test_windows_on_an_image_that_is_spread_out_divide_jumps():
    up = START.windowed(1, extent=4, stride=1, before=1, count=24, spread=2)
    assert numbers(up)[1] == (2, Fraction(1, 2), (1,))


def test_a_reduced_axis_is_read_as_a_whole_and_keeps_its_jump():
    wide = START.sliced((0, 0, 0, 0), (1, 2, 1, 1), (2, 6, 8, 3)).reduced([1, 3], 4)
    assert numbers(wide) == [(1, 1, (0,)), (11, 2, ()), (1, 1, (1,)), (3, 1, ())]
    assert numbers(START.reduced([1], 4, keep=True))[2] == (1, 1, (2,))


def test_a_negative_start_is_padding():
    extents = START.sliced((0, -2, 3, 0), (1, 1, 2, 1), (2, 14, 3, 3))
    assert [(i.low, i.high) for i in extents.intervals[1:3]] == [(-2, -2), (3, 3)]


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        ((2, 6, 2, 8, 3), [(1, 1, (0,)), (1, 1, (1, 2)), (1, 1, (3,)), (1, 1, (4,))]),
        ((2, 12, 24), [(1, 1, (0,)), (1, 1, (1,)), (1, 1, (2,)), (1, 1, (2,))]),
        ((2, 96, 3), [(1, 1, (0,)), (1, 1, (1,)), (1, 1, (1,)), (1, 1, (2,))]),
        ((1, 2, 12, 8, 1, 3), [(1, 1, (0, 1)), (1, 1, (2,)), (1, 1, (3,)), (1, 1, (4, 5))]),
    ],
)
def test_reshaped(new, expected):
    assert numbers(START.reshaped((2, 12, 8, 3), new)) == expected


def test_axes_that_a_reshape_mixes_are_read_as_a_whole():
    mixed = START.reshaped((2, 12, 8, 3), (6, 4, 24))
    assert numbers(mixed) == [(2, 1, ()), (12, 1, ()), (1, 1, (2,)), (1, 1, (2,))]


def test_tiles_are_windows():
    tiles = START.reshaped((2, 12, 8, 3), (2, 4, 3, 4, 2, 3)).reduced([2, 4], 6)
    assert numbers(tiles)[1:3] == [(3, 3, (1,)), (2, 2, (2,))]
    whole = START.reshaped((2, 12, 8, 3), (2, 1, 12, 8, 3)).reduced([2], 5)
    assert numbers(whole)[1] == (12, 12, (1,))


def test_tiles_put_together_again_are_the_image():
    there = START.reshaped((2, 12, 8, 3), (2, 4, 3, 8, 3))
    assert there.reshaped((2, 4, 3, 8, 3), (2, 12, 8, 3)) == START


def test_flattened_maps_are_read_as_a_whole():
    flat = START.reshaped((2, 12, 8, 3), (2, 288))
    assert numbers(flat.reduced([1], 2)) == [(1, 1, (0,)), (12, 1, ()), (8, 1, ()), (3, 1, ())]


def test_joined_reads_what_either_reads():
    left = START.windowed(1, extent=3, stride=1, before=2, count=12)
    right = START.windowed(1, extent=3, stride=1, before=0, count=12)
    assert numbers(left.joined(right))[1] == (5, 1, (1,))
    gate = START.reduced([1, 2], 4).renumbered({0: 0, 1: 3})
    assert numbers(START.joined(gate))[1] == (12, 1, (1,))


def test_of_two_inputs_that_of_higher_rank_counts():
    other = of_input(1, (2,))
    assert START.joined(other) == other.joined(START) == START


def test_a_loop_widens_intervals_as_often_as_it_runs():
    once = START.windowed(1, extent=3, stride=1, before=1, count=12)
    assert once.repeated(START, 5).intervals[1].size == 11
    assert once.repeated(of_input(1, (2,)), 5) == once
