"""A method and its directions: gradients by transposing the forward pass."""

import numpy as np
from cases import BY_NAME, exact_gradients

from cnnjax._core.shapes import conv_geometry
from cnnjax.operator.method import Method, serves_all, transposed_in_w, transposed_in_x
from cnnjax.operator.methods.definition import convolve
from cnnjax.operator.spec import DIRECTIONS, ConvSpec

CASE = BY_NAME["dilation, stride, same"]
GEOMETRY = conv_geometry("test", CASE.x[1:-1], CASE.w[:-2], **CASE.where)
SPEC = ConvSpec(GEOMETRY, CASE.x[0], CASE.x[-1], CASE.w[-1], dtype=np.dtype("float64"))


def test_the_transposes_of_the_forward_pass_are_the_gradients_of_the_oracle():
    x, w, y = (CASE.draw_integers(what) for what in "xwy")
    by_x, by_w = exact_gradients(x, w, y, CASE.for_oracle)
    np.testing.assert_array_equal(transposed_in_x(convolve)(w, y, SPEC), by_x)
    np.testing.assert_array_equal(transposed_in_w(convolve)(x, y, SPEC), by_w)


def test_a_method_gives_its_directions_by_name():
    by_x, by_w = transposed_in_x(convolve), transposed_in_w(convolve)
    method = Method("definition", convolve, by_x, by_w, serves_all)
    assert [method.direction(direction) for direction in DIRECTIONS] == [convolve, by_x, by_w]
    assert method.refuses(SPEC) is None
    assert not any(method.native(direction, SPEC) for direction in DIRECTIONS)
    assert method.elementwise == ()
