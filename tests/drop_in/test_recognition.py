"""Calls of lax.conv_general_dilated are recognised as the direction of the convolution that they come from."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.extend.core.primitives import conv_general_dilated_p

from cnnjax.drop_in.recognition import Recognised, recognise

LAYOUTS = [("NHWC", "HWIO", "NHWC"), ("NCHW", "OIHW", "NCHW")]
SHAPES = {"N": 2, "H": 9, "W": 8, "C": 4, "O": 6}


def calls_of(f, *args):
    return [
        recognise(*(v.aval for v in e.invars), e.outvars[0].aval, **e.params)
        for e in jax.make_jaxpr(f)(*args).eqns
        if e.primitive is conv_general_dilated_p
    ]


def gradient_calls(layout, stride, dilation, groups):
    kernel = {"H": 3, "W": 2, "I": 4 // groups, "O": 6}
    x, w = (jnp.ones([sizes[axis] for axis in spec]) for sizes, spec in zip((SHAPES, kernel), layout, strict=False))

    def loss(x, w):
        padding = [(1, 1), (0, 1)]
        y = lax.conv_general_dilated(
            x, w, stride, padding, rhs_dilation=dilation, dimension_numbers=layout, feature_group_count=groups
        )
        return jnp.sum(y * y)

    return calls_of(jax.grad(loss, argnums=(0, 1)), x, w)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout[0])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("dilation", [(1, 1), (2, 1)])
def test_the_three_directions_of_one_convolution(layout, dilation, groups):
    calls = {call.direction: call.spec for call in gradient_calls(layout, (2, 2), dilation, groups)}
    assert set(calls) == {"forward", "input_gradient", "weight_gradient"}
    forward = calls["forward"]
    assert (forward.n, forward.c_in, forward.c_out, forward.groups) == (2, 4, 6, groups)
    assert (forward.geometry.size, forward.geometry.kernel) == ((9, 8), (3, 2))
    for spec in calls.values():
        assert (spec.x_shape, spec.w_shape, spec.y_shape) == (forward.x_shape, forward.w_shape, forward.y_shape)
        assert (spec.geometry.stride, spec.geometry.dilation) == ((2, 2), dilation)
        assert [before for before, _ in spec.geometry.pads] == [1, 0]


def test_an_input_gradient_without_stride_reads_its_kernel_in_place():
    """Nothing but the order of the kernel's maps tells it from a forward pass."""
    calls = {call.direction: call for call in gradient_calls(LAYOUTS[0], (1, 1), (1, 1), 1)}
    gradient = calls["input_gradient"]
    assert gradient.spec.w_shape == calls["forward"].spec.w_shape == (3, 2, 4, 6)
    x, w = jnp.ones((2, 9, 8, 4)), jnp.ones((3, 2, 6, 4))
    jaxpr = jax.make_jaxpr(gradient.operands)(jnp.ones((2, 9, 8, 6)), w)
    assert "transpose" not in str(jaxpr)
    (own,) = calls_of(
        lambda x, w: lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=LAYOUTS[0]),
        x,
        w.transpose((0, 1, 3, 2)),
    )
    assert own.direction == "forward"


@pytest.mark.parametrize(
    ("dtype", "numbers", "shape", "kernel"),
    [
        ("int32", ("NHWC", "HWOI", "NHWC"), (2, 9, 8, 4), (3, 2, 6, 4)),  # the operator has no gradient for integers
        ("float32", ("NCH", "IOH", "NCH"), (2, 4, 9), (4, 6, 3)),  # a copy of the kernel in any case
    ],
)
def test_other_kernels_in_another_order_are_those_of_a_forward_pass(dtype, numbers, shape, kernel):
    convolve = lambda x, w: lax.conv_general_dilated(  # noqa: E731
        x, w, (1,) * (len(shape) - 2), "SAME", dimension_numbers=numbers
    )
    (call,) = calls_of(convolve, jnp.ones(shape, dtype), jnp.ones(kernel, dtype))
    assert call.direction == "forward"


@pytest.mark.parametrize(
    ("shape", "kernel", "settings", "why"),
    [
        ((2, 3), (4, 3), {"window_strides": (), "padding": ()}, "no spatial axis"),
        ((1, 1, 2), (1, 1, 1), {"window_strides": (4,), "padding": [(-3, 5)]}, "no product reads a pixel"),
        ((0, 1, 5), (1, 1, 2), {"window_strides": (1,), "padding": "VALID"}, "an array is empty"),
        (
            (1, 1, 5),
            (1, 1, 2),
            {"window_strides": (2,), "padding": [(0, 0)], "lhs_dilation": (2,), "rhs_dilation": (2,)},
            "spread out",
        ),
    ],
)
def test_what_is_left_to_jax(shape, kernel, settings, why):
    convolve = lambda x, w: lax.conv_general_dilated(x, w, **settings)  # noqa: E731
    (found,) = calls_of(convolve, jnp.ones(shape), jnp.ones(kernel))
    assert why in found


def test_the_directions_of_a_transposed_convolution():
    """Its weight gradient reads the cotangent as the image, which is the largest of the three arrays."""
    x, w = jnp.ones((2, 9, 8, 4)), jnp.ones((3, 2, 4, 6))
    layout = ("NHWC", "HWIO", "NHWC")
    up = lambda x, w: jnp.sum(lax.conv_transpose(x, w, (2, 2), "VALID", dimension_numbers=layout) ** 2)  # noqa: E731
    calls = calls_of(jax.grad(up, argnums=(0, 1)), x, w)
    assert sorted(call.direction for call in calls) == ["forward", "input_gradient", "weight_gradient"]
    for call in calls:
        spec = call.spec
        assert (spec.x_shape, spec.w_shape, spec.y_shape) == ((2, 19, 16, 6), (3, 2, 6, 4), (2, 9, 8, 4))
        assert spec.geometry.stride == (2, 2)


@pytest.mark.parametrize("stride", [1, 2])
def test_the_weights_of_second_derivatives_are_small(stride):
    """In the transposes of a weight gradient, a direction of the weights is lhs or rhs."""
    x, w = jnp.ones((2, 9, 8, 4)), jnp.ones((3, 2, 4, 6))

    def first(x, w):
        layout = "NHWC", "HWIO", "NHWC"

        def loss(x, w):
            y = lax.conv_general_dilated(x, w, (stride, stride), "SAME", dimension_numbers=layout)
            return jnp.sum(y**3)

        return sum(jnp.sum(g**2) for g in jax.grad(loss, argnums=(0, 1))(x, w))

    calls = calls_of(jax.grad(first, argnums=(0, 1)), x, w)
    assert len(calls) > 6
    assert {call.spec.geometry.kernel for call in calls} == {(3, 2)}


def test_pixels_that_negative_padding_removes_are_not_read():
    convolve = lambda x, w: lax.conv_general_dilated(x, w, (2,), [(-1, -3)])  # noqa: E731
    (found,) = calls_of(convolve, jnp.ones((1, 1, 12)), jnp.ones((1, 1, 2)))
    assert found.unread == ((1, 3),)
    assert found.spec.geometry.size == (8,)
    assert found.spec.geometry.pads == ((0, 0),)


@pytest.mark.parametrize(
    ("dtype", "taken"),
    [("float32", True), ("bfloat16", True), ("int32", True), ("uint8", True), ("complex64", False), ("bool", False)],
)
def test_dtypes(dtype, taken):
    convolve = lambda x, w: lax.conv_general_dilated(x, w, (1,), "VALID")  # noqa: E731
    (found,) = calls_of(convolve, jnp.ones((1, 1, 5), dtype), jnp.ones((1, 1, 2), dtype))
    assert isinstance(found, Recognised) == taken
