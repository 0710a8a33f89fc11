"""XLA's cost analysis counts the operations of a convolution, in each direction, lowered and compiled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import cnnjax
from cnnjax._core.shapes import conv_geometry
from cnnjax.operator import primitives
from cnnjax.operator.counted import counted
from cnnjax.operator.spec import DIRECTIONS, ConvSpec

# A large weight gradient is summed by a loop.
CASES = {
    "ordinary": ((4, 12, 10, 8), (3, 3, 8, 16), {}),
    "stride": ((4, 12, 10, 8), (3, 3, 8, 16), {"stride": 2, "padding": "SAME"}),
    "one map": ((4, 28, 28, 1), (5, 5, 1, 6), {}),
    "groups": ((4, 12, 10, 8), (3, 3, 4, 16), {"groups": 2}),
    "depthwise": ((4, 12, 10, 8), (3, 3, 1, 8), {"groups": 8}),
    "large": ((32, 28, 28, 32), (3, 3, 32, 64), {"padding": "SAME"}),
}


def flops(f, *shapes):
    lowered = jax.jit(f).lower(*(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes))
    return lowered.cost_analysis()["flops"], lowered.compile().cost_analysis()["flops"]


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", CASES)
def test_the_count_is_at_least_that_of_the_definition_and_not_much_more(name, direction):
    x_shape, w_shape, settings = CASES[name]
    groups = settings.get("groups", 1)
    padding, stride = settings.get("padding", "VALID"), settings.get("stride", 1)
    geometry = conv_geometry("test", x_shape[1:-1], w_shape[:-2], padding=padding, stride=stride)
    spec = ConvSpec(geometry, x_shape[0], x_shape[-1], w_shape[-1], groups)
    # One group of the input maps, read by the weights of all groups, takes as many operations.
    forward = lambda x, w: lax.conv_general_dilated(  # noqa: E731
        x, w, geometry.stride, geometry.pads, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    definition, _ = flops(forward, (*x_shape[:-1], x_shape[-1] // groups), w_shape)
    operands = {"forward": "xw", "input_gradient": "wy", "weight_gradient": "xy"}[direction]
    shapes = [getattr(spec, f"{operand}_shape") for operand in operands]
    run = lambda a, b: getattr(primitives, direction)(a, b, spec, jnp.float32)  # noqa: E731
    for count in flops(run, *shapes):
        # Structural zeros, paddings and sums of parts are operations too.
        assert definition <= 1.1 * count
        assert count <= 8 * definition


def test_a_gradient_of_a_network_is_counted():
    net = cnnjax.models.lenet5()
    params = net.init(jax.random.key(0))
    loss = jax.grad(lambda params, x: jnp.sum(net.apply(params, x)))
    program = jax.jit(loss).lower(params, jnp.ones((4, 32, 32, 1), jnp.float32))
    assert program.cost_analysis()["flops"] > 2 * 4 * 340_908


def test_the_branch_that_is_never_taken_changes_no_bit():
    spec = ConvSpec(conv_geometry("test", (6, 6), (3, 3)), 2, 1, 1)
    looped = lambda x, w: lax.fori_loop(0, 2, lambda _, y: y + 1, jnp.full(spec.y_shape, x[0, 0, 0, 0]))  # noqa: E731
    for value in (3.0, np.nan, np.inf, -np.inf):
        x, w = jnp.full(spec.x_shape, value), jnp.ones(spec.w_shape)
        np.testing.assert_array_equal(counted(looped, "forward", x, w, spec), looped(x, w))
