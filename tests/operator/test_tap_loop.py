"""The loop over taps equals the oracle in all directions, in a program that is the same for every kernel."""

import jax
import numpy as np
import pytest
from cases import (
    PLAIN,
    assert_within,
    exact_gradients,
    gradient_bounds,
    oracle,
    size_of_terms,
    spec_of,
    sum_bound,
)

from cnnjax._core.shapes import conv_geometry
from cnnjax.operator import tap_loop
from cnnjax.operator.spec import DIRECTIONS, ConvSpec


@pytest.mark.parametrize("case", PLAIN, ids=lambda case: case.name)
def test_three_directions_equal_the_oracle(case):
    spec = spec_of(case)
    x, w, y = (case.draw(what) for what in "xwy")
    ours = jax.jit(lambda x, w: tap_loop.forward(x, w, spec))(x, w)
    exact = oracle(case)
    assert_within(ours, exact, sum_bound(size_of_terms(case), int(np.prod(case.w[:-1])), "float64", exact))
    by_x = jax.jit(lambda w, y: tap_loop.input_gradient(w, y, spec))(w, y)
    by_w = jax.jit(lambda x, y: tap_loop.weight_gradient(x, y, spec))(x, y)
    bounds = gradient_bounds(x, w, y, case.for_oracle)
    for mine, exact, bound in zip((by_x, by_w), exact_gradients(x, w, y, case.for_oracle), bounds, strict=True):
        assert_within(mine, exact, bound)


@pytest.mark.parametrize("several", [1, 4])
def test_several_taps_at_a_time_give_the_same_sum(several):
    case = next(case for case in PLAIN if case.settings.get("groups") == 2)
    x, w = case.draw("x"), case.draw("w")
    ours = tap_loop.forward(x, w, spec_of(case), several)
    exact = oracle(case)
    assert_within(ours, exact, sum_bound(size_of_terms(case), int(np.prod(case.w[:-1])), "float64", exact))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_program_does_not_grow_with_the_kernel(direction):
    def equations(kernel):
        geometry = conv_geometry("test", (64, 64), (kernel, kernel), padding="SAME")
        spec = ConvSpec(geometry, 1, 2, 2, 2)
        shapes = {"x": spec.x_shape, "w": spec.w_shape, "y": spec.y_shape}
        names = {"forward": "xw", "input_gradient": "wy", "weight_gradient": "xy"}[direction]
        arrays = [jax.ShapeDtypeStruct(shapes[name], np.float32) for name in names]
        run = lambda a, b: getattr(tap_loop, direction)(a, b, spec)  # noqa: E731
        return str(jax.make_jaxpr(run)(*arrays)).count("\n")

    assert equations(3) == equations(31)
