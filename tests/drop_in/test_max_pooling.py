"""Max pools and their gradients are JAX's own, to the first maximum of every window, whatever its numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from cnnjax import drop_in

SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0])


def pool(x, window, strides, padding):
    return lax.reduce_window(x, -jnp.inf, lax.max, window, strides, padding)


def value_and_gradient(x, *arguments):
    y, pull = jax.vjp(lambda x: pool(x, *arguments), x)
    return y, pull(jnp.arange(1, y.size + 1, dtype=y.dtype).reshape(y.shape) % 8)[0]


def with_and_without(f, *arrays):
    expected = jax.jit(f)(*arrays)
    with drop_in.enabled():
        return jax.jit(f)(*arrays), expected


def taken_over(f, *arrays):
    """The operations that were taken over in the program, of those that are not convolutions."""
    before = {row.call: row.programs for row in drop_in.report().rows}
    with drop_in.enabled():
        jax.jit(lambda *arrays: f(*arrays)).lower(*arrays)
    new = [row.call for row in drop_in.report().rows if row.programs > before.get(row.call, 0)]
    return {call.operation: call.taken_over for call in new}


@st.composite
def pools(draw):
    """An image in any layout, with few different values, so that windows have several maxima."""
    axes = draw(st.integers(1, 4))
    each = lambda values: tuple(draw(values) for _ in range(axes))  # noqa: E731
    window, strides = each(st.integers(1, 3)), each(st.integers(1, 4))
    padding = [(draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in range(axes)]
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    numbers = rng.integers(-2, 3, each(st.integers(3, 6))).astype(float)
    if draw(st.booleans()):
        numbers = np.where(rng.random(numbers.shape) < 0.3, rng.choice(SPECIAL, numbers.shape), numbers)
    return jnp.asarray(numbers, draw(st.sampled_from(["float16", "bfloat16", "float32", "float64"]))), (
        window,
        strides,
        padding,
    )


@settings(max_examples=25)
@given(pools())
def test_values_and_gradients_are_those_of_jax(case):
    x, arguments = case
    # Sums of small integers are exact, and so is the comparison, in any order.
    found, expected = with_and_without(lambda x: value_and_gradient(x, *arguments), x)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(np.asarray(a, "float64"), np.asarray(b, "float64"))


@pytest.mark.parametrize(
    ("window", "strides", "padding"),
    [
        ((1, 3, 3, 1), (1, 2, 2, 1), "SAME"),
        ((1, 2, 2, 1), (1, 2, 2, 1), "VALID"),
        ((1, 5, 5, 1), (1, 1, 1, 1), "SAME"),
        ((1, 1, 3, 3), (1, 1, 1, 1), "SAME"),
        ((1, 1, 3, 3), (1, 1, 2, 2), "SAME"),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_pools_of_networks(window, strides, padding, dtype):
    if dtype == "bfloat16" and window == strides:
        pytest.skip("windows that do not overlap are left to JAX in 16 bits")
    x = jnp.asarray(np.random.default_rng(0).integers(0, 9, (2, 12, 12, 12)), dtype)
    f = lambda x: value_and_gradient(x, window, strides, padding)  # noqa: E731
    for a, b in zip(*with_and_without(f, x), strict=True):
        np.testing.assert_array_equal(a, b)
    assert taken_over(f, x) == {"max_pool": True, "max_pool_gradient": np.prod(window) <= 27}


def test_vmap_scan_and_second_derivatives():
    x = jnp.asarray(np.random.default_rng(0).standard_normal((3, 2, 9, 8, 4)))

    def loss(x):
        y = pool(x, (1, 3, 2, 1), (1, 2, 2, 1), "SAME")
        return jnp.sum(jnp.sin(y) * y)

    second = jax.grad(lambda x: jnp.sum(jax.grad(loss)(x) ** 2))
    f = lambda x: (jax.vmap(second)(x), lax.map(jax.grad(loss), x))  # noqa: E731
    for a, b in zip(*with_and_without(f, x), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


X = jnp.ones((1, 8, 8, 2), "float32")
TWO, SIDE = (1, 2, 2, 1), (1, 2, 2, 1)
LEFT = {
    "integers": (lambda x: pool_of_integers(x), "its arrays are not floating-point numbers"),
    "dilated": (
        lambda x: lax.reduce_window(x, -jnp.inf, lax.max, TWO, SIDE, "VALID", window_dilation=(1, 2, 2, 1)),
        "its image or its windows are dilated",
    ),
    "negative": (
        lambda x: pool(x, TWO, SIDE, ((0, 0), (-1, 0), (0, 0), (0, 0))),
        "its padding is negative",
    ),
    "long": (
        lambda x: pool(x.reshape(1, 128), (1, 100), (1, 100), "VALID"),
        "its windows are long, or overlap, along one axis alone",
    ),
    "overlapping along one axis": (
        lambda x: pool(x, (1, 3, 1, 1), (1, 1, 1, 1), "VALID"),
        "its windows are long, or overlap, along one axis alone",
    ),
    "large and apart": (
        lambda x: pool(x, (1, 5, 5, 1), (1, 5, 5, 1), "VALID"),
        "its windows do not overlap: XLA's loop reads each pixel once",
    ),
    "apart, of 16 bits": (
        lambda x: pool(x.astype("bfloat16"), TWO, SIDE, "VALID"),
        "its windows do not overlap: XLA's loop reads each pixel once",
    ),
    "empty": (lambda x: pool(x[:0], TWO, SIDE, "VALID"), "an array is empty"),
}


def pool_of_integers(x):
    return lax.reduce_window(x.astype("int32"), np.int32(np.iinfo("int32").min), lax.max, TWO, SIDE, "VALID")


@pytest.mark.parametrize("name", LEFT)
def test_what_is_left_to_jax_says_why(name):
    f, reason = LEFT[name]
    np.testing.assert_array_equal(*with_and_without(f, X))
    assert any(r.call.reason == reason and r.call.operation == "max_pool" for r in drop_in.report().rows)


@pytest.mark.parametrize(
    ("window", "strides", "dtype", "reason"),
    [
        ((1, 5, 5, 1), (1, 5, 5, 1), "float32", "its windows are large and apart, of few maps"),
        ((1, 3, 1, 1), (1, 2, 1, 1), "bfloat16", "its windows have one axis and few maps, of 16 bits"),
        ((1, 8, 8, 1), (1, 1, 1, 1), "float32", "its windows have more than 27 pixels"),
    ],
)
def test_a_gradient_that_is_left_to_jax_says_why(window, strides, dtype, reason):
    f = lambda x: value_and_gradient(x, window, strides, "VALID")[1].astype("float32")  # noqa: E731
    np.testing.assert_array_equal(*with_and_without(f, X.astype(dtype)))
    assert any(r.call.reason == reason and r.call.operation == "max_pool_gradient" for r in drop_in.report().rows)


def test_the_gradient_of_a_minimum_is_left_to_jax():
    f = jax.grad(lambda x: jnp.sum(lax.reduce_window(x, jnp.inf, lax.min, TWO, SIDE, "VALID") ** 2))
    np.testing.assert_array_equal(*with_and_without(f, X))
    assert taken_over(f, X) == {"max_pool_gradient": False}


def test_a_partitioned_program_keeps_jaxs_pools():
    exported = lambda: jax.export.export(jax.jit(lambda x: pool(x, TWO, SIDE, "VALID")))(X)  # noqa: E731
    with drop_in.enabled():
        np.testing.assert_array_equal(exported().call(X), pool(X, TWO, SIDE, "VALID"))
    reason = "the program is exported, or partitioned over several devices"
    assert any(row.call.reason == reason for row in drop_in.report().rows)
