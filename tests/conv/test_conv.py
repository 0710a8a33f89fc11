"""Every convolution against the float64 loops of `cnnjax.reference`, against PyTorch, and against its own laws.

Where a law is an identity of sums, the numbers are small integers in float64: every sum is exact in any order, and the
two sides must be equal to the last bit.
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
    DTYPES,
    GENERAL,
    Case,
    assert_within,
    convolutions,
    exact_gradients,
    gradient_bounds,
    integers,
    normal,
    oracle,
    pads_by_hand,
    product,
    rounded_draws,
    size_of_terms,
    sum_bound,
    terms_of_output,
    wide,
)
from hypothesis import given, settings

import cnnjax
from cnnjax import connections as tables
from cnnjax import explain, reference

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
each_method = pytest.mark.parametrize("method", GENERAL)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)
WRITTEN_OUT = 20  # the traced definition has a product for each tap and input map; differentiated, it compiles slowly
each_case_and_method = pytest.mark.parametrize(
    ("case", "method"),
    [
        pytest.param(case, method, id=f"{case.name}-{method}")
        for case in CASES
        for method in GENERAL
        if method != "definition" or np.prod(case.w[:-1]) <= WRITTEN_OUT
    ],
)
SMALL = ("reflect, stride, dilation", "causal, dilated", "sequence, table", "volume, circular, groups")
FEW = (
    "same, unequal stride",
    "circular, even kernel, stride 2",
    "reflect, stride, dilation",
    "groups, stride, same",
    "table, unequal",
    "causal, dilated",
    "volume, circular, groups",
)
each_small = pytest.mark.parametrize("case", [BY_NAME[name] for name in SMALL], ids=SMALL)
each_of_few_and_method = pytest.mark.parametrize(
    ("case", "method"),
    [
        pytest.param(BY_NAME[name], method, id=f"{name}-{method}")
        for method in GENERAL
        for name in (SMALL if method == "definition" else FEW)
    ],
)


def jitted(case, method):
    return jax.jit(lambda x, w, b=None: case.convolve(x, w, b, method=method))


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


def test_auto_is_one_of_the_methods_and_the_default():
    case = BY_NAME["same, even kernel"]
    x, w, _ = rounded_draws(case, "float64")
    default, auto = case.convolve(x, w), case.convolve(x, w, method="auto")
    np.testing.assert_array_equal(default, auto)
    settings = {"stride": 1, **case.settings}
    (chosen, _) = explain(x.shape, w.shape, dtype=x.dtype, platform="cpu", **settings).chosen["forward"]
    np.testing.assert_array_equal(auto, case.convolve(x, w, method=chosen))


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
    mode = {"CIRCULAR": "circular", "REFLECT": "reflect"}.get(padding, "constant") if isinstance(padding, str) else None
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
@pytest.mark.parametrize("mode", ["circular", "reflect", "zeros"])
@pytest.mark.parametrize("kernel", [(3, 3), (4, 3), (2, 5)])
def test_paddings_that_keep_the_size_are_those_of_torch_layers(mode, kernel):
    torch = pytest.importorskip("torch")
    layer = torch.nn.Conv2d(2, 3, kernel, padding="same", padding_mode=mode, bias=False, dtype=torch.float64)
    x = integers((1, 6, 7, 2), "torch same")
    w = integers((*kernel, 2, 3), "torch same")
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.transpose(w, (3, 2, 0, 1)).copy()))
        theirs = layer(torch.from_numpy(np.moveaxis(x, -1, 1).copy())).numpy()
    padding = {"circular": "CIRCULAR", "reflect": "REFLECT", "zeros": "SAME"}[mode]
    np.testing.assert_array_equal(cnnjax.conv2d(x, w, padding=padding), np.moveaxis(theirs, 1, -1))


@pytest.mark.parametrize(
    "options", product(stride=[1, 2, (3, 2)], padding=[0, (1, 2)], dilation=[1, 2], groups=[1, 2]), ids=str
)
def test_transpose_equals_torch(options):
    torch = pytest.importorskip("torch")
    stride, dilation = options["stride"], options["dilation"]
    extra = tuple(s - 1 for s in ((stride, stride) if isinstance(stride, int) else stride))
    y, w = integers((2, 4, 5, 4), "torch y"), integers((3, 4, 2, 4), "torch w")
    padding = options["padding"]
    pairs = ((padding, padding),) * 2 if isinstance(padding, int) else tuple((p, p) for p in padding)
    ours = cnnjax.conv2d_transpose(y, w, **{**options, "padding": pairs}, output_padding=extra)
    theirs = torch.nn.functional.conv_transpose2d(
        torch.from_numpy(np.moveaxis(y, -1, 1).copy()),
        torch.from_numpy(np.transpose(w, (3, 2, 0, 1)).copy()),
        stride=stride,
        padding=padding,
        output_padding=extra,
        groups=options["groups"],
        dilation=dilation,
    )
    np.testing.assert_array_equal(ours, np.moveaxis(theirs.numpy(), 1, -1))


# Transformations


@each_case_and_method
def test_vmap_over_images_weights_or_both_equals_the_loop(case, method):
    xs = np.stack([case.draw_integers("x", salt) for salt in "12"])
    ws = np.stack([case.draw_integers("w", salt) for salt in "12"])
    ours = xs if case.batched else xs[:, 0]

    def three(xs, ws):
        one = lambda x, w: case.convolve(x, w, method=method)  # noqa: E731
        return jax.vmap(one, (0, None))(xs, ws[0]), jax.vmap(one, (None, 0))(xs[0], ws), jax.vmap(one)(xs, ws)

    over_x, over_w, over_both = jax.jit(three)(ours, ws)
    exact = {
        (i, j): case.one(reference.convolve(xs[i], ws[j], **case.for_oracle))
        for i, j in [(0, 0), (0, 1), (1, 0), (1, 1)]
    }
    np.testing.assert_array_equal(over_x, np.stack([exact[0, 0], exact[1, 0]]))
    np.testing.assert_array_equal(over_w, np.stack([exact[0, 0], exact[0, 1]]))
    np.testing.assert_array_equal(over_both, np.stack([exact[0, 0], exact[1, 1]]))


@each_case_and_method
def test_both_modes_of_differentiation_equal_the_oracle(case, method):
    x, w, b, y = (case.draw_integers(what) for what in "xwby")
    dx, dw, db = (case.draw_integers(what, "tangent") for what in "xwb")

    def both(x, w, b, dx, dw, db, y):
        f = lambda x, w, b: case.convolve(x, w, b, method=method)  # noqa: E731
        _, back = jax.vjp(f, x, w, b)
        return jax.jvp(f, (x, w, b), (dx, dw, db))[1], back(y)

    one = case.one
    tangent, (by_x, by_w, by_b) = jax.jit(both)(one(x), w, b, one(dx), dw, db, one(y))
    convolve = lambda x, w: reference.convolve(x, w, **case.for_oracle)  # noqa: E731
    np.testing.assert_array_equal(tangent, one(convolve(dx, w) + convolve(x, dw) + db))
    exact_by_x, exact_by_w = exact_gradients(x, w, y, case.for_oracle)
    np.testing.assert_array_equal(by_x, one(exact_by_x))
    np.testing.assert_array_equal(by_w, exact_by_w)
    np.testing.assert_array_equal(by_b, y.sum(axis=tuple(range(y.ndim - 1))))


@each_of_few_and_method
@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype != "float64"])
def test_gradients_are_as_exact_as_their_dtype(case, method, dtype):
    x, w, y = (case.draw(what, dtype) for what in "xwy")
    back = jax.jit(lambda x, w, y: jax.vjp(lambda x, w: case.convolve(x, w, method=method), x, w)[1](y))
    ours = back(x, w, y)
    exact = exact_gradients(x, w, y, case.for_oracle)
    bounds = gradient_bounds(x, w, y, case.for_oracle, dtype)
    for mine, right, bound in zip(ours, exact, bounds, strict=True):
        assert mine.dtype == dtype
        assert_within(mine, right, bound)


@each_small
@each_method
def test_derivatives_of_a_curved_loss_equal_central_differences(case, method):
    """The two step sizes give the error of the difference; rounding adds eps * (size of the loss) / h."""
    x, w, b, y = (case.draw(what) for what in "xwby")
    tangents = tuple(case.draw(what, "float64") for what in "xwb")
    tangents = tuple(normal(t.shape, f"{case.name} tangent") for t in tangents)

    @jax.jit
    def loss(t):
        shifted = (v + t * dv for v, dv in zip((x, w, b), tangents, strict=True))
        return jnp.sum(jnp.sin(case.convolve(*shifted, method=method)) * y)

    h = 1e-3
    step = lambda h: (loss(h) - loss(-h)) / (2 * h)  # noqa: E731
    coarse, fine = step(2 * h), step(h)
    extrapolated = fine + (fine - coarse) / 3
    rounding = np.finfo(float).eps * np.abs(y).sum() * terms_of_output(case) / h
    for derivative in (jax.jvp(loss, (0.0,), (1.0,))[1], jax.grad(loss)(0.0)):
        assert abs(derivative - extrapolated) <= 0.1 * abs(fine - coarse) + rounding
        assert abs(fine - coarse) < 1e-2 * abs(derivative)  # the yardstick is worth something


@each_small
@each_method
def test_the_hessian_of_half_the_square_equals_the_oracle(case, method):
    """L = |conv(x, w)|^2 / 2 has the Hessian of two bilinear forms, which the oracle can write down."""
    x, w = case.draw_integers("x"), case.draw_integers("w")
    dx, dw = case.draw_integers("x", "tangent"), case.draw_integers("w", "tangent")
    convolve = lambda x, w: reference.convolve(x, w, **case.for_oracle)  # noqa: E731
    y, dy = convolve(x, w), convolve(dx, w) + convolve(x, dw)
    by_x = exact_gradients(x, w, dy, case.for_oracle)[0] + exact_gradients(x, dw, y, case.for_oracle)[0]
    by_w = exact_gradients(x, w, dy, case.for_oracle)[1] + exact_gradients(dx, w, y, case.for_oracle)[1]

    gradient = jax.grad(lambda x, w: 0.5 * jnp.sum(case.convolve(x, w, method=method) ** 2), (0, 1))

    def forward_over_reverse(x, w, dx, dw):
        return jax.jvp(gradient, (x, w), (dx, dw))[1]

    def reverse_over_reverse(x, w, dx, dw):
        along = lambda x, w: sum(jnp.vdot(g, d) for g, d in zip(gradient(x, w), (dx, dw), strict=True))  # noqa: E731
        return jax.grad(along, (0, 1))(x, w)

    both = jax.jit(lambda *args: (forward_over_reverse(*args), reverse_over_reverse(*args)))
    for ours in both(x, w, dx, dw):
        np.testing.assert_array_equal(ours[0], by_x)
        np.testing.assert_array_equal(ours[1], by_w)


@pytest.mark.parametrize("name", ["causal, dilated", "sequence, table"])
@each_method
def test_derivatives_up_to_order_four_along_a_line(name, method):
    """Along x + t dx, w + t dw the half square is a polynomial of degree four in t, with known coefficients."""
    case = BY_NAME[name]
    x, w = case.draw_integers("x"), case.draw_integers("w")
    dx, dw = case.draw_integers("x", "tangent"), case.draw_integers("w", "tangent")
    convolve = lambda x, w: reference.convolve(x, w, **case.for_oracle)  # noqa: E731
    y0, y1, y2 = convolve(x, w), convolve(dx, w) + convolve(x, dw), convolve(dx, dw)
    exact = [np.vdot(y0, y1), np.vdot(y1, y1) + 2 * np.vdot(y0, y2), 6 * np.vdot(y1, y2), 12 * np.vdot(y2, y2)]

    loss = lambda t: 0.5 * jnp.sum(case.convolve(x + t * dx, w + t * dw, method=method) ** 2)  # noqa: E731
    derivatives, alternating = [], loss
    for order in range(4):
        inner = alternating
        alternating = jax.grad(inner) if order % 2 else lambda t, f=inner: jax.jvp(f, (t,), (1.0,))[1]
        derivatives.append(alternating)
    ours = jax.jit(lambda t: [derivative(t) for derivative in derivatives])(0.0)
    np.testing.assert_array_equal(ours, exact)


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


def test_two_convolutions_without_a_squashing_function_are_one():
    x, w1, w2 = integers((9, 9, 2), "x"), integers((3, 3, 2, 3), "w1"), integers((3, 3, 3, 2), "w2")
    both = jax.jacobian(lambda x: cnnjax.conv2d(cnnjax.conv2d(x, w1), w2)[0, 0])(jnp.asarray(x))
    collapsed = np.moveaxis(np.asarray(both)[:, :5, :5], 0, -1)
    np.testing.assert_array_equal(cnnjax.conv2d(x, collapsed), cnnjax.conv2d(cnnjax.conv2d(x, w1), w2))


# What the two questions ask


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


def test_map_zero_of_c3_reads_three_maps_through_all_25_taps():
    x, w = normal((5, 5, 6), "x"), normal((5, 5, 6, 16), "w")
    gradient = jax.grad(lambda x: cnnjax.conv2d(x, w, connections=tables.LENET5_C3)[0, 0, 0])(x)
    np.testing.assert_array_equal(np.count_nonzero(gradient, axis=(0, 1)), [25, 25, 25, 0, 0, 0])


# Dtypes


@each_method
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sums_of_16_bit_products_are_kept_in_float32(method, dtype):
    """2048 + 1 is 2048 in float16, and 256 + 1 is 256 in bfloat16: kept there, a sum of ones would stop growing."""
    first = 2048 if dtype == "float16" else 256
    x, w = jnp.ones((33, 1), dtype).at[0].set(first), jnp.ones((33, 1, 1), dtype)
    y = jax.jit(lambda x, w: cnnjax.conv1d(x, w, method=method))(x, w)
    assert y[0, 0] == jnp.asarray(first + 32, dtype) == first + 32
    x, w = jnp.ones((2500, 1), dtype), jnp.ones((1, 1, 1), dtype)
    gradient = jax.grad(lambda w: cnnjax.conv1d(x, w, method=method).astype(jnp.float32).sum())(w)
    assert gradient.dtype == dtype
    assert gradient[0, 0, 0] == jnp.asarray(2500, dtype)


@each_method
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_preferred_element_type_is_the_dtype_of_the_result_alone(method, dtype):
    case = BY_NAME["sequence, table"]
    wider = "float32" if dtype != "float32" else "float64"
    x, w, b = rounded_draws(case, dtype)
    run = jax.jit(lambda x, w, b: case.convolve(x, w, b, method=method, preferred_element_type=wider))
    y = run(x, w, b)
    assert y.dtype == wider
    sizes = size_of_terms(case, dtype) + np.abs(wide(b))
    # The products may have been added up in the narrower dtype of the two, but not rounded to 16 bits.
    bound = sum_bound(sizes, terms_of_output(case), "float32")
    assert_within(y, oracle(case, dtype) + wide(b), bound)
    loss = lambda x, w, b: jnp.sum(run(x, w, b))  # noqa: E731
    assert [g.dtype for g in jax.grad(loss, (0, 1, 2))(*map(jnp.asarray, (x, w, b)))] == [dtype] * 3


def test_32_bits_are_enough_for_a_user_without_x64(float32_world):
    case = BY_NAME["circular, even kernel, stride 2"]
    x, w, b = rounded_draws(case, "float32")
    wider = tuple(map(wide, (x, w, b)))  # NumPy's float64, which JAX makes float32
    exact, sizes = oracle(case, "float32") + wide(b), size_of_terms(case, "float32") + np.abs(wide(b))
    for arrays in ((x, w, b), wider):
        y = case.convolve(*arrays)
        assert y.dtype == jnp.float32
        assert_within(y, exact, sum_bound(sizes, terms_of_output(case), "float32"))
    gradient = jax.grad(lambda w: jnp.sum(case.convolve(x, w)))(jnp.asarray(w))
    assert gradient.dtype == jnp.float32


def test_precision_is_passed_on():
    x, w = jnp.ones((5, 5, 1)), jnp.ones((3, 3, 1, 1))
    for precision in ("highest", jax.lax.Precision.DEFAULT):
        step = jax.jit(lambda x, w, p=precision: cnnjax.conv2d(x, w, method="lax", precision=p))
        text = step.lower(x, w).as_text()
        assert str(jax.lax.Precision(precision)).split(".")[-1] in text


@each_method
def test_an_empty_batch_gives_an_empty_batch(method):
    y = cnnjax.conv2d(jnp.zeros((0, 5, 5, 2)), jnp.zeros((3, 3, 2, 4)), method=method)
    assert y.shape == (0, 3, 3, 4)


def test_numpy_arrays_and_numpy_integers_will_do():
    x, w = integers((5, 5, 1), "x"), integers((3, 3, 1, 1), "w")
    y = cnnjax.conv2d(x, w, stride=np.int64(2), padding=((np.int32(1), 1), [1, 1]), groups=np.uint8(1))
    np.testing.assert_array_equal(y, cnnjax.conv2d(jnp.asarray(x), jnp.asarray(w), stride=2, padding=1))


# The adjoint

TRANSPOSES = [
    {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "output_padding": extra}
    for padding in ("VALID", "SAME", "SAME_LOWER", "CIRCULAR", "REFLECT", 1, ((1, 0), (0, 2)))
    for stride, extra in ((1, 0), (2, 0), (2, 1), ((2, 3), (0, 2)))
    for dilation, groups in ((1, 1), ((1, 2), 2))
]


@pytest.mark.parametrize("options", TRANSPOSES, ids=str)
def test_transpose_is_the_adjoint_of_the_convolution(options):
    """<conv2d(x, w), y> = <x, conv2d_transpose(y, w)>, and it is the oracle's input gradient."""
    groups = options["groups"]
    w, y = integers((2, 3, 4 // groups, 2), "w"), integers((2, 4, 4, 2), "y")
    forward = {key: value for key, value in options.items() if key != "output_padding"}
    back = cnnjax.conv2d_transpose(y, w, **options)
    x = integers(back.shape, "x")
    there = cnnjax.conv2d(x, w, **forward)
    assert there.shape == y.shape
    assert np.vdot(there, y) == np.vdot(x, back)
    np.testing.assert_array_equal(back, reference.input_gradient(x.shape, w, y, **forward))


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", ["VALID", "SAME", "CIRCULAR", 1])
def test_output_padding_chooses_among_the_sizes_that_give_the_same_output(stride, padding):
    y, w = jnp.zeros((4, 4, 1)), jnp.zeros((3, 3, 1, 1))
    sizes = [
        cnnjax.conv2d_transpose(y, w, stride=stride, padding=padding, output_padding=e).shape[0] for e in range(stride)
    ]
    assert sizes == [sizes[0] + e for e in range(stride)]
    fits = [n for n in range(1, 30) if reference._pixels_read((n,), (3,), stride=stride, padding=padding)[1] == (4,)]
    assert sizes == fits


def test_transpose_adds_its_bias_and_takes_one_image():
    w, y, b = integers((3, 3, 2, 4), "w"), integers((2, 5, 5, 4), "y"), integers((2,), "b")
    plain = cnnjax.conv2d_transpose(y, w, stride=2)
    np.testing.assert_array_equal(cnnjax.conv2d_transpose(y, w, b, stride=2), plain + b[None, None, None])
    np.testing.assert_array_equal(cnnjax.conv2d_transpose(y[1], w, b, stride=2), plain[1] + b[None, None])


def test_transpose_is_differentiable_as_often_as_the_convolution():
    w, y, x = integers((2, 2, 2, 3), "w"), integers((1, 3, 3, 3), "y"), integers((1, 5, 5, 2), "x")
    f = lambda y, w: cnnjax.conv2d_transpose(y, w, stride=2, padding="SAME")  # noqa: E731
    by_y, by_w = jax.vjp(f, y, w)[1](x)
    options = {"stride": 2, "padding": "SAME"}
    np.testing.assert_array_equal(by_y, reference.convolve(x, w, **options))
    np.testing.assert_array_equal(by_w, reference.weight_gradient(x, w.shape, y, **options))
    mixed = jax.jvp(jax.grad(lambda y, w: jnp.vdot(f(y, w), x)), (y, w), (np.zeros_like(y), w))[1]
    np.testing.assert_array_equal(mixed, by_y)
    batch = np.stack([y, 2 * y])
    np.testing.assert_array_equal(jax.vmap(f, (0, None))(batch, w), np.stack([f(y, w), 2 * f(y, w)]))


@each_dtype
def test_transpose_is_as_exact_as_its_dtype(dtype):
    w, y = normal((3, 2, 2, 3), "w", dtype), normal((1, 4, 4, 3), "y", dtype)
    ours = cnnjax.conv2d_transpose(y, w, stride=2, padding="CIRCULAR")
    assert ours.dtype == dtype
    options = {"stride": 2, "padding": "CIRCULAR"}
    exact = reference.input_gradient(ours.shape, w, y, **options)
    sizes = reference.input_gradient(ours.shape, np.abs(wide(w)), np.abs(wide(y)), **options)
    # The wrapped rows are added up in the dtype of y, at most four values to a pixel.
    assert_within(ours, exact, sum_bound(sizes, 18, dtype, exact, *[sizes] * 4))


# Relatives

SPATIAL = [
    {"stride": stride, "padding": padding, "dilation": dilation}
    for padding in ("VALID", "SAME", "CIRCULAR", ((1, 0), (0, 1)))
    for stride, dilation in ((1, (1, 2)), ((2, 1), 1))
]


@pytest.mark.parametrize("options", SPATIAL, ids=str)
@each_method
def test_depthwise_is_the_table_in_which_each_map_feeds_its_own(options, method):
    x, w, b = integers((2, 5, 6, 3), "x"), integers((3, 2, 3, 2), "w"), integers((6,), "b")
    table = tables.depthwise(3, 2)
    dense = np.zeros((3, 2, 3, 6))
    for c, r in itertools.product(range(3), range(2)):
        dense[:, :, c, 2 * c + r] = w[:, :, c, r]
    exact = reference.convolve(x, dense, b, **options, connections=table.matrix)
    depthwise = jax.jit(lambda x, w, b: cnnjax.depthwise_conv2d(x, w, b, **options, method=method))
    np.testing.assert_array_equal(depthwise(x, w, b), exact)
    np.testing.assert_array_equal(depthwise(x, w.reshape(3, 2, 1, 6), b), exact)
    np.testing.assert_array_equal(depthwise(x[1], w, b), exact[1])


@pytest.mark.parametrize("options", SPATIAL, ids=str)
def test_separable_is_the_convolution_with_the_product_of_the_kernels(options):
    x, w1, w2 = integers((2, 5, 6, 2), "x"), integers((3, 2, 2, 3), "w1"), integers((1, 1, 6, 4), "w2")
    b = integers((4,), "b")
    kernel = np.einsum("uvcr,cro->uvco", w1, w2.reshape(2, 3, 4))
    exact = reference.convolve(x, kernel, b, **options)
    np.testing.assert_array_equal(cnnjax.separable_conv2d(x, w1, w2, b, **options), exact)
    np.testing.assert_array_equal(cnnjax.separable_conv2d(x[0], w1.reshape(3, 2, 1, 6), w2, b, **options), exact[0])


@each_method
def test_separable_keeps_the_wider_dtype_between_its_parts(method):
    x, w1, w2 = (normal(shape, "separable", "bfloat16") for shape in ((4, 4, 2), (2, 2, 2, 2), (1, 1, 4, 3)))
    b = normal((3,), "b", "bfloat16")
    y = cnnjax.separable_conv2d(x, w1, w2, b, method=method, preferred_element_type=jnp.float32)
    assert y.dtype == jnp.float32
    kernel = np.einsum("uvcr,cro->uvco", wide(w1), wide(w2).reshape(2, 2, 3))
    exact = reference.convolve(x[None], kernel, b)[0]
    sizes = reference.convolve(
        np.abs(wide(x))[None],
        np.einsum("uvcr,cro->uvco", np.abs(wide(w1)), np.abs(wide(w2)).reshape(2, 2, 3)),
        np.abs(wide(b)),
    )[0]
    assert_within(y, exact, sum_bound(sizes, 4 + 8 + 1, "float32"))
    assert cnnjax.separable_conv2d(x, w1, w2, method=method).dtype == jnp.bfloat16


@pytest.mark.parametrize("options", [*SPATIAL, {"padding": "REFLECT", "stride": 2}], ids=str)
def test_local_has_a_kernel_for_each_position(options):
    x = integers((2, 5, 6, 2), "x")
    _, output = reference._pixels_read((5, 6), (3, 2), **options)
    w, b = integers((*output, 3, 2, 2, 3), "w"), integers((*output, 3), "b")
    local = jax.jit(lambda x, w, b=None: cnnjax.local_conv2d(x, w, b, **options))
    exact = reference.local_convolve(x, w, b, **options)
    np.testing.assert_array_equal(local(x, w, b), exact)
    np.testing.assert_array_equal(local(x[1], w, b), exact[1])
    shared = np.broadcast_to(w[0, 0], w.shape)
    np.testing.assert_array_equal(local(x, shared, np.zeros_like(b)), cnnjax.conv2d(x, w[0, 0], **options))


@each_dtype
def test_local_is_as_exact_as_its_dtype(dtype):
    x, w = normal((1, 4, 4, 3), "x", dtype), normal((3, 3, 2, 2, 3, 2), "w", dtype)
    exact = reference.local_convolve(x, w)
    sizes = reference.local_convolve(np.abs(wide(x)), np.abs(wide(w)))
    ours = cnnjax.local_conv2d(x, w)
    assert ours.dtype == dtype
    assert_within(ours, exact, sum_bound(sizes, 12, dtype, exact))


def test_the_gradient_of_shared_weights_is_the_sum_of_the_local_ones():
    x, w, y = integers((1, 4, 4, 2), "x"), integers((2, 2, 2, 3), "w"), integers((1, 3, 3, 3), "y")
    local = jnp.broadcast_to(w, (3, 3, *w.shape))
    by_local = jax.vjp(lambda w: cnnjax.local_conv2d(x, w), local)[1](jnp.asarray(y))[0]
    np.testing.assert_array_equal(by_local.sum((0, 1)), reference.weight_gradient(x, w.shape, y))


def test_a_case_reads_as_it_is_printed():
    """The table of cases itself: names are unique and every kind of setting occurs."""
    assert len(BY_NAME) == len(CASES)
    paddings = {
        case.settings.get("padding", "VALID") for case in CASES if isinstance(case.settings.get("padding", ""), str)
    }
    assert paddings >= {*cnnjax._core.shapes.PADDINGS, "CAUSAL"}
    assert {case.spatial for case in CASES} == {1, 2, 3}
    assert isinstance(CASES[0], Case)
