"""What every convolution has in common: method, transformations by JAX, dtypes and precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import (
    BY_NAME,
    DTYPES,
    FEW,
    Case,
    assert_within,
    each_case_and_method,
    each_method,
    each_of_few_and_method,
    each_small,
    exact_gradients,
    gradient_bounds,
    integers,
    normal,
    oracle,
    rounded_draws,
    size_of_terms,
    sum_bound,
    terms_of_output,
    wide,
)

import cnnjax
from cnnjax import METHODS, explain, reference


def test_auto_is_one_of_the_methods_and_the_default():
    case = BY_NAME["same, even kernel"]
    x, w, _ = rounded_draws(case, "float64")
    default, auto = case.convolve(x, w), case.convolve(x, w, method="auto")
    np.testing.assert_array_equal(default, auto)
    settings = {"stride": 1, **case.settings}
    (chosen, _) = explain(x.shape, w.shape, dtype=x.dtype, platform="cpu", **settings).chosen["forward"]
    np.testing.assert_array_equal(auto, case.convolve(x, w, method=chosen))


# Integers


def by_int64(x, w, case):
    """The oracle's sums in NumPy's int64."""
    y = np.zeros(case.output, np.int64)
    x, w = x.astype(np.int64), w.astype(np.int64)
    for at_x, at_w, at_y in reference.terms(x.shape, w.shape, **case.for_oracle):
        y[at_y] += x[at_x] * w[at_w]
    return y


def any_integers(case, what, dtype):
    """Integers of the whole range of the dtype, or of 29 bits: sums of their products fit into int64."""
    limits, random = np.iinfo(dtype), np.random.default_rng(ord(what))
    low, high = max(limits.min, -(2**28)), min(limits.max, 2**28)
    return random.integers(low, high, case.draw(what).shape, dtype, endpoint=True)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32"])
@pytest.mark.parametrize("name", FEW)
def test_integers_are_summed_in_integers_and_wrap_around(name, dtype):
    case = BY_NAME[name]
    x, w = any_integers(case, "x", dtype), any_integers(case, "w", dtype)
    exact = by_int64(x, w, case)
    y = case.convolve(case.one(x), w)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, case.one(exact.astype(dtype)))
    wide = case.convolve(case.one(x), w, preferred_element_type=jnp.int32)
    assert wide.dtype == "int32"
    np.testing.assert_array_equal(wide, case.one(exact.astype(np.int32)))


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_every_method_that_serves_integers_sums_them_exactly(groups):
    case = Case("integers", (2, 5, 6, 4), (3, 3, 4 // groups, 4), {"groups": groups, "padding": "SAME"})
    x, w = any_integers(case, "x", "int8"), any_integers(case, "w", "int8")
    exact = by_int64(x, w, case)
    refused = explain(case.x, case.w, dtype="int8", **case.settings).refused
    assert {"winograd2", "winograd4", "fft", "onednn"} <= refused.keys()
    served = [method for method in METHODS if method not in refused]
    assert {"lax", "definition", "gathered", "sparse"} <= set(served)
    convolve = jax.jit(lambda x, w: {m: case.convolve(x, w, method=m, preferred_element_type="int32") for m in served})
    for method, y in convolve(x, w).items():
        np.testing.assert_array_equal(y, exact, err_msg=method)


def test_integers_may_have_a_floating_result():
    case = BY_NAME["same, even kernel"]
    x, w = any_integers(case, "x", "int8"), any_integers(case, "w", "int8")
    y = case.convolve(x, w, preferred_element_type=jnp.float32)
    assert y.dtype == "float32"
    np.testing.assert_array_equal(y, by_int64(x, w, case))


def test_integers_have_no_gradient_but_may_be_batched():
    case = BY_NAME["same, even kernel"]
    x, w = any_integers(case, "x", "int8"), any_integers(case, "w", "int8")
    with pytest.raises(TypeError, match="grad requires real- or complex-valued inputs"):
        jax.grad(lambda x: case.convolve(x, w).sum())(x)
    y, back = jax.vjp(case.convolve, x, w)
    by_x, by_w = back(np.zeros(y.shape, jax.dtypes.float0))
    assert by_x.dtype == by_w.dtype == jax.dtypes.float0
    both = jax.vmap(case.convolve)(np.stack([x, x]), np.stack([w, w]))
    np.testing.assert_array_equal(both, np.stack([y, y]))


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
