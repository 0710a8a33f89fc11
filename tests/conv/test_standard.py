"""Convolution over one, two and three axes, against the float64 loops of `cnnjax.reference`, PyTorch, and its own laws.

Where a law is an identity of sums, the numbers are small integers in float64: every sum is exact in any order, and the
two sides must be bit-identical.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import (
    BY_NAME,
    CASES,
    CONV,
    GENERAL,
    SMALL,
    Case,
    assert_within,
    convolutions,
    each_case,
    each_dtype,
    each_method,
    exact_gradients,
    integers,
    jitted,
    normal,
    oracle,
    pads_by_hand,
    rounded_draws,
    size_of_terms,
    sum_bound,
    terms_of_output,
    wide,
)
from hypothesis import given, settings

import cnnjax
from cnnjax import reference

# Against the oracle


@each_case
@each_method
@each_dtype
def test_equals_the_sum_written_out_in_loops(case, method, dtype):
    x, w, b = rounded_draws(case, dtype)
    without_bias = oracle(case, dtype)
    exact = without_bias + wide(b)
    sizes = size_of_terms(case, dtype) + np.abs(wide(b))
    ours = jitted(case, method)(case.one(x), w, b)
    assert ours.dtype == dtype
    assert ours.ndim == len(case.x)
    assert_within(ours, case.one(exact), case.one(sum_bound(sizes, terms_of_output(case), dtype, without_bias, exact)))


@each_case
@each_method
def test_sums_of_integers_are_exact(case, method):
    x, w, b = (case.draw_integers(what) for what in "xwb")
    exact = case.one(reference.convolve(x, w, b, **case.for_oracle))
    one_by_one = method != "definition" or case.name in SMALL  # without jit, each of its many steps is compiled
    convolve = functools.partial(case.convolve, method=method) if one_by_one else jitted(case, method)
    np.testing.assert_array_equal(convolve(case.one(x), w, b), exact)


@pytest.mark.parametrize("spatial", [1, 2, 3])
def test_drawn_convolutions_and_their_gradients_equal_the_oracle(spatial):
    @settings(max_examples=30 if spatial < 3 else 15)
    @given(case=convolutions(spatial))
    def check(case):
        x, w, y = (case.draw_integers(what) for what in "xwy")

        def both(x, w, y):
            forward, back = jax.vjp(case.convolve, x, w)
            return forward, back(y)

        forward, gradients = jax.jit(both)(jnp.asarray(x), jnp.asarray(w), jnp.asarray(y))
        np.testing.assert_array_equal(forward, reference.convolve(x, w, **case.for_oracle))
        for ours, exact in zip(gradients, exact_gradients(x, w, y, case.for_oracle), strict=True):
            np.testing.assert_array_equal(ours, exact)

    check()


@pytest.mark.parametrize("spatial", [1, 2, 3])
def test_drawn_convolutions_are_the_same_by_every_method(spatial):
    @settings(max_examples=15 if spatial < 3 else 6)
    @given(case=convolutions(spatial))
    def check(case):
        x, w = case.draw_integers("x"), case.draw_integers("w")
        results = jax.jit(lambda x, w: [case.convolve(x, w, method=method) for method in GENERAL])(x, w)
        for result in results:
            np.testing.assert_array_equal(result, results[0])

    check()


# Against PyTorch


@each_case
def test_equals_torch(case):
    torch = pytest.importorskip("torch")
    x, w, b = rounded_draws(case, "float64")
    if case.table is not None:
        w = w * case.table.matrix
    pads = pads_by_hand(case.batched_x[1:-1], w.shape[:-2], case.settings)
    padding = case.settings.get("padding")
    image = torch.from_numpy(np.moveaxis(x, -1, 1).copy())
    modes = {"CIRCULAR": "circular", "EDGE": "replicate", "REFLECT": "reflect"}
    mode = modes.get(padding, "constant") if isinstance(padding, str) else None
    if any(max(pair) > n for pair, n in zip(pads, x.shape[1:-1], strict=True)) and mode == "circular":
        pytest.skip("torch wraps around once at most")
    flat = [n for pair in reversed(pads) for n in pair]
    image = torch.nn.functional.pad(image, flat, mode=mode or "constant")
    convolve = getattr(torch.nn.functional, f"conv{case.spatial}d")
    kernel = torch.from_numpy(np.moveaxis(w, (-1, -2), (0, 1)).copy())
    options = {name: case.settings.get(name, 1) for name in ("stride", "dilation", "groups")}
    theirs = np.moveaxis(convolve(image, kernel, torch.from_numpy(b), **options).numpy(), 1, -1)
    sizes = size_of_terms(case) + np.abs(b)
    assert_within(
        case.convolve(case.one(x), w, b),
        case.one(theirs),
        case.one(2 * sum_bound(sizes, terms_of_output(case), "float64")),
    )


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("mode", ["circular", "replicate", "reflect", "zeros"])
@pytest.mark.parametrize("kernel", [(3, 3), (4, 3), (2, 5)])
def test_paddings_that_keep_the_size_are_those_of_torch_layers(mode, kernel):
    torch = pytest.importorskip("torch")
    layer = torch.nn.Conv2d(2, 3, kernel, padding="same", padding_mode=mode, bias=False, dtype=torch.float64)
    x = integers((1, 6, 7, 2), "torch same")
    w = integers((*kernel, 2, 3), "torch same")
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.transpose(w, (3, 2, 0, 1)).copy()))
        theirs = layer(torch.from_numpy(np.moveaxis(x, -1, 1).copy())).numpy()
    padding = {"circular": "CIRCULAR", "replicate": "EDGE", "reflect": "REFLECT", "zeros": "SAME"}[mode]
    np.testing.assert_array_equal(cnnjax.conv2d(x, w, padding=padding), np.moveaxis(theirs, 1, -1))


# Laws


@each_case
def test_it_is_linear_in_the_image_and_in_the_weights(case):
    x, w, b = (case.draw_integers(what) for what in "xwb")
    x2, w2 = case.draw_integers("x", "other"), case.draw_integers("w", "other")
    one, f = case.one, case.convolve
    np.testing.assert_array_equal(f(one(2 * x - 3 * x2), w), 2 * f(one(x), w) - 3 * f(one(x2), w))
    np.testing.assert_array_equal(f(one(x), 2 * w - 3 * w2), 2 * f(one(x), w) - 3 * f(one(x), w2))
    np.testing.assert_array_equal(f(one(x), w, b) - f(one(x), w), np.broadcast_to(b, one(np.zeros(case.output)).shape))


@each_case
def test_permuting_output_maps_permutes_and_permuting_input_maps_changes_nothing(case):
    if case.settings.get("groups", 1) > 1:
        pytest.skip("groups tie maps to their places")
    x, w = case.draw_integers("x"), case.draw_integers("w")
    matrix = None if case.table is None else case.table.matrix
    order_in, order_out = np.roll(np.arange(w.shape[-2]), 1), np.arange(w.shape[-1])[::-1]

    def convolve(x, w, matrix):
        return CONV[case.spatial](x, w, connections=matrix, **case.settings)

    plain = convolve(x, w, matrix)
    table = None if matrix is None else matrix[order_in]
    np.testing.assert_array_equal(convolve(x[..., order_in], w[..., order_in, :], table), plain)
    table = None if matrix is None else matrix[:, order_out]
    np.testing.assert_array_equal(convolve(x, w[..., order_out], table), plain[..., order_out])


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("spatial", [1, 2, 3])
@each_method
def test_shift_of_the_input_shifts_the_output(spatial, stride, method):
    """On a periodic image, a shift by the stride is a shift of the output by one, to the last bit."""
    size = 6 if spatial < 3 else 3 * (stride == 3) or 4
    x, w = integers((1, *(size,) * spatial, 2), "shift x"), integers((*(3, 2, 2)[:spatial], 2, 2), "shift w")
    axes = tuple(range(1, spatial + 1))
    convolve = jax.jit(lambda x: CONV[spatial](x, w, stride=stride, padding="CIRCULAR", method=method))
    shifted = convolve(np.roll(x, (stride,) * spatial, axes))
    np.testing.assert_array_equal(shifted, np.roll(convolve(x), (1,) * spatial, axes))


def test_where_the_kernel_stays_inside_a_shift_shifts_too():
    x, w = integers((1, 8, 7, 2), "inside x"), integers((3, 3, 2, 2), "inside w")
    np.testing.assert_array_equal(cnnjax.conv2d(x[:, 1:, 2:], w), cnnjax.conv2d(x, w)[:, 1:, 2:])


def test_a_causal_convolution_never_sees_the_future():
    x, w = normal((6, 2), "causal x"), normal((3, 2, 1), "causal w")
    jacobian = jax.jacobian(lambda x: cnnjax.conv1d(x, w, padding="CAUSAL", stride=2)[:, 0])(x)
    for i, t in itertools.product(range(3), range(6)):
        assert np.all(jacobian[i, t] == 0) == (not 2 * i - 2 <= t <= 2 * i)


def test_the_kernel_is_not_flipped():
    x = np.zeros((5, 1))
    x[2] = 1
    w = np.array([1.0, 2.0, 3.0])[:, None, None]
    np.testing.assert_array_equal(cnnjax.conv1d(x, w, padding="SAME")[:, 0], [0, 3, 2, 1, 0])


def test_two_convolutions_without_an_activation_function_are_one():
    x, w1, w2 = integers((9, 9, 2), "x"), integers((3, 3, 2, 3), "w1"), integers((3, 3, 3, 2), "w2")
    both = jax.jacobian(lambda x: cnnjax.conv2d(cnnjax.conv2d(x, w1), w2)[0, 0])(jnp.asarray(x))
    collapsed = np.moveaxis(np.asarray(both)[:, :5, :5], 0, -1)
    np.testing.assert_array_equal(cnnjax.conv2d(x, collapsed), cnnjax.conv2d(cnnjax.conv2d(x, w1), w2))


# Sizes, and which map reads which


@pytest.mark.parametrize(
    ("x", "w", "options", "y"),
    [
        ((9, 9, 10), (3, 3, 10, 4), {}, (7, 7, 4)),
        ((9, 9, 10), (3, 3, 10, 4), {"stride": 3}, (3, 3, 4)),
        ((9, 9, 10), (7, 7, 10, 4), {}, (3, 3, 4)),
        ((14, 14, 6), (5, 5, 6, 16), {}, (10, 10, 16)),
        ((28, 28, 1), (3, 3, 1, 32), {}, (26, 26, 32)),
        ((26, 26, 32), (3, 3, 32, 64), {}, (24, 24, 64)),
        ((227, 227, 3), (11, 11, 3, 96), {"stride": 4}, (55, 55, 96)),
        ((224, 224, 3), (11, 11, 3, 64), {"stride": 4, "padding": 2}, (55, 55, 64)),
        ((11, 11, 4), (5, 5, 4, 2), {"stride": 2}, (4, 4, 2)),
    ],
)
def test_published_sizes(x, w, options, y):
    result = jax.eval_shape(lambda x, w: cnnjax.conv2d(x, w, **options), jnp.zeros(x), jnp.zeros(w))
    assert result.shape == y


def test_a_kernel_is_three_dimensional_and_its_slices_are_added():
    x, w = integers((6, 6, 4), "x"), integers((3, 3, 4, 2), "w")
    by_slice = sum(cnnjax.conv2d(x[..., c : c + 1], w[:, :, c : c + 1]) for c in range(4))
    np.testing.assert_array_equal(cnnjax.conv2d(x, w), by_slice)
    replicated = np.repeat(w[:, :, :1], 4, axis=2)
    np.testing.assert_array_equal(cnnjax.conv2d(x, replicated), cnnjax.conv2d(x.sum(-1, keepdims=True), w[:, :, :1]))
    np.testing.assert_array_equal(cnnjax.conv2d(x, replicated), cnnjax.conv2d(x[..., ::-1], replicated))


def test_a_kernel_as_deep_as_the_volume_slides_in_two_dimensions_only():
    x, w = integers((6, 6, 4), "x"), integers((3, 3, 4, 2), "w")
    volume, kernel = np.moveaxis(x, -1, 0)[..., None], np.moveaxis(w, 2, 0)[:, :, :, None]
    np.testing.assert_array_equal(cnnjax.conv3d(volume, kernel)[0], cnnjax.conv2d(x, w))
    assert cnnjax.conv3d(volume, kernel[:3]).shape == (2, 4, 4, 2)


@pytest.mark.parametrize(
    ("connect", "expected"),
    [
        ({}, np.ones((4, 4), bool)),
        ({"groups": 4}, np.eye(4, dtype=bool)),
        ({"groups": 2}, np.kron(np.eye(2), np.ones((2, 2))) > 0),
    ],
    ids=["dense", "depthwise", "grouped"],
)
def test_which_map_reads_which_is_what_the_jacobian_says(connect, expected):
    x, w = normal((3, 3, 4), "x"), normal((3, 3, 4 // connect.get("groups", 1), 4), "w")
    jacobian = jax.jacobian(lambda x: cnnjax.conv2d(x, w, **connect)[0, 0])(x)
    np.testing.assert_array_equal(np.any(jacobian != 0, axis=(1, 2)).T, expected)


# The table of cases itself


def test_a_case_reads_as_it_is_printed():
    """The table of cases itself: names are unique and every kind of setting occurs."""
    assert len(BY_NAME) == len(CASES)
    paddings = {
        case.settings.get("padding", "VALID") for case in CASES if isinstance(case.settings.get("padding", ""), str)
    }
    assert paddings >= {*cnnjax._core.shapes.PADDINGS, "CAUSAL"}
    assert {case.spatial for case in CASES} == {1, 2, 3}
    assert isinstance(CASES[0], Case)
