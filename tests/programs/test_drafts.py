"""Rows while a program is read."""

from cnnjax.programs.drafts import Draft
from cnnjax.programs.extents import of_input
from cnnjax.programs.parameters import Use
from cnnjax.programs.propagation import Axes


def draft(shape, axes=None, **settings):
    return Draft("scope", "Affine", shape, axes, 1, **settings)


def test_maps_are_along_the_last_axis_unless_something_says_otherwise():
    assert draft((2, 5, 6, 3)).volume() == (3, (5, 6))
    assert draft((3,)).volume() == (3, ())
    assert draft(()).volume() == (1, ())
    extents = of_input(0, (2, 3, 5, 6))
    assert draft((2, 3, 5, 6), Axes(extents, maps=1, batch=0)).volume() == (3, (5, 6))
    assert draft((3, 5, 6), Axes(extents, maps=0)).volume() == (3, (5, 6))
    assert draft((2, 3), c_out=7, size=(4,)).volume() == (7, (4,))


def test_statistics_are_what_a_root_is_taken_of_and_what_is_subtracted_then():
    row = draft((2, 3))
    mean, scale = Use(0, 3, negated=True), Use(1, 3)
    row.add([mean, scale])
    assert (row.kind, row.split_uses()) == ("Affine", ([mean, scale], []))
    variance = Use(2, 3, root=True)
    row.add([variance])
    assert (row.kind, row.split_uses()) == ("Norm", ([scale], [mean, variance]))
