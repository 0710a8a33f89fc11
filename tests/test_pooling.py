"""Pooling against the oracle, PyTorch and derivatives worked out by hand."""

import inspect
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import assert_within, integers, normal, product, sum_bound, wide

import cnnjax
from cnnjax import reference

WHERE = [
    *product(window=[(2, 2), (3, 2)], stride=[(2, 2), (1, 3)], padding=["VALID", "SAME", ((1, 0), (0, 1))]),
    {"window": (3, 3), "stride": (2, 1), "padding": "SAME_LOWER"},
    {"window": (3, 2), "stride": (2, 2), "padding": "CIRCULAR"},
    {"window": (2, 3), "stride": (1, 1), "padding": "REFLECT"},
    {"window": (5, 6), "stride": (1, 1), "padding": "VALID"},
]
each_where = pytest.mark.parametrize("where", WHERE, ids=str)
SHAPE = (2, 5, 6, 3)
EXPONENTS = (1, 2, 3.5)


def settings(where):
    return {"stride": where["stride"], "padding": where["padding"]}


@each_where
def test_pools_equal_the_loops(where):
    x, w, b = integers(SHAPE, "pool"), integers((3,), "w"), integers((3,), "b")
    window, how = where["window"], settings(where)

    @jax.jit
    def all_pools(x, w, b):
        norms = [cnnjax.lp_pool2d(x, window, p=p, **how) for p in EXPONENTS]
        subsampled = cnnjax.subsample2d(x, w, b, window=window, **how)
        one_image = cnnjax.subsample2d(x[0], w, b, window=window, **how)
        return cnnjax.max_pool2d(x, window, **how), cnnjax.avg_pool2d(x, window, **how), norms, subsampled, one_image

    largest, mean, norms, subsampled, one_image = all_pools(x, w, b)
    np.testing.assert_array_equal(largest, reference.max_pool(x, window, **how))
    exact = reference.subsample(x, w, b, window, **how)
    np.testing.assert_array_equal(subsampled, exact)
    np.testing.assert_array_equal(one_image, exact[0])
    eps, area = np.finfo(float).eps, np.prod(window)
    np.testing.assert_allclose(mean, reference.avg_pool(x, window, **how), rtol=2 * eps, atol=0)
    for p, norm in zip(EXPONENTS, norms, strict=True):
        # Each of the powers is good to a few eps * p, their sum to eps * area more, and the root divides it by p.
        np.testing.assert_allclose(norm, reference.lp_pool(x, window, p, **how), rtol=(area + 8 * p) * eps, atol=0)


@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d", "lp_pool2d"])
def test_by_default_windows_stand_side_by_side_and_one_image_will_do(name):
    x, pool = integers((2, 6, 7, 2), name), getattr(cnnjax, name)
    assert pool(x).shape == (2, 3, 3, 2)
    np.testing.assert_array_equal(pool(x, 3), pool(x, (3, 3), stride=(3, 3), padding="VALID"))
    np.testing.assert_array_equal(pool(x[1], 3), pool(x, 3)[1])
    few_ulps = 4 * np.finfo(float).eps  # of the powers of the norm
    np.testing.assert_allclose(jax.jit(lambda x: pool(x, 3))(x), pool(x, 3), rtol=few_ulps)
    np.testing.assert_allclose(jax.vmap(lambda x: pool(x, 3))(x), pool(x, 3), rtol=few_ulps)
    assert pool(x[:0]).shape == (0, 3, 3, 2)


@pytest.mark.parametrize("where", product(window=[2, (3, 2)], stride=[2, (1, 2)], pad=[0, 1]), ids=str)
def test_pools_equal_torch(where):
    torch = pytest.importorskip("torch")
    x = normal((2, 6, 7, 3), "torch pool")
    theirs = torch.from_numpy(np.moveaxis(x, -1, 1).copy())
    functions = torch.nn.functional
    window, stride, pad = where["window"], where["stride"], where["pad"]
    shown = lambda y: np.moveaxis(y.numpy(), 1, -1)  # noqa: E731

    @jax.jit
    def ours(x):
        largest, mean = (pool(x, window, stride=stride, padding=pad) for pool in (cnnjax.max_pool2d, cnnjax.avg_pool2d))
        return largest, mean, cnnjax.lp_pool2d(x, window, p=3, stride=stride)

    largest, mean, norm = ours(x)
    np.testing.assert_array_equal(largest, shown(functions.max_pool2d(theirs, window, stride, pad)))
    their_mean = shown(functions.avg_pool2d(theirs, window, stride, pad, count_include_pad=False))
    np.testing.assert_allclose(mean, their_mean, rtol=0, atol=8 * np.finfo(float).eps)
    their_norm = shown(functions.lp_pool2d(abs(theirs), 3, window, stride))
    np.testing.assert_allclose(norm, their_norm, rtol=64 * np.finfo(float).eps)


def test_the_tutorials_pool():
    """Its example, on numpy.random.RandomState(1).rand(3, 2, 5, 5), of which it prints four and nine values."""
    images = np.moveaxis(np.random.RandomState(1).rand(3, 2, 5, 5), 1, -1)
    inside = cnnjax.max_pool2d(images, 2)[0, ..., 0]
    np.testing.assert_allclose(inside, [[0.72032449, 0.39676747], [0.6852195, 0.87811744]], atol=5e-9)
    with_border = cnnjax.max_pool2d(images, 2, padding=((0, 1), (0, 1)))[1, ..., 0]
    printed = [
        [0.67883553, 0.58930554, 0.69975836],
        [0.66379465, 0.94459476, 0.58655504],
        [0.90340192, 0.80739129, 0.39767684],
    ]
    np.testing.assert_allclose(with_border, printed, atol=5e-9)


@pytest.mark.parametrize("padding", ["VALID", "SAME", "SAME_LOWER", "CIRCULAR", "REFLECT", 1])
@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d"])
def test_a_constant_image_stays_constant(name, padding):
    for value in (1.75, -1.75):
        y = getattr(cnnjax, name)(np.full((5, 6, 1), value), 3, stride=2, padding=padding)
        np.testing.assert_array_equal(y, np.full(y.shape, value))


@pytest.mark.parametrize("padding", ["VALID", "CIRCULAR", "REFLECT"])
def test_subsampling_is_the_mean_times_the_area(padding):
    x, w, b = integers((2, 6, 4, 3), "x"), integers((3,), "w"), integers((3,), "b")
    mean = cnnjax.avg_pool2d(x, (2, 4), padding=padding)
    ours = cnnjax.subsample2d(x, w, b, window=(2, 4), padding=padding)
    np.testing.assert_array_equal(ours, w[None, None, None] * 8 * mean + b[None, None, None])
    np.testing.assert_array_equal(cnnjax.subsample2d(x, w, window=(2, 4), padding=padding), ours - b[None, None, None])


@pytest.mark.parametrize("pool", [cnnjax.max_pool2d, cnnjax.avg_pool2d, cnnjax.lp_pool2d, cnnjax.subsample2d])
def test_the_window_follows_the_arrays_and_the_rest_is_by_name(pool):
    parameters = inspect.signature(pool).parameters.values()
    positional = [parameter.name for parameter in parameters if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
    assert positional == (["x", "w", "b", "window"] if pool is cnnjax.subsample2d else ["x", "window"])
    assert {"stride", "padding"} <= {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
    x, arrays = integers((6, 4, 3), "x"), (integers((3,), "w"), integers((3,), "b"))
    arrays = arrays if pool is cnnjax.subsample2d else ()
    np.testing.assert_array_equal(pool(x, *arrays, (2, 4)), pool(x, *arrays, window=(2, 4)))
    np.testing.assert_array_equal(pool(x, *arrays), pool(x, *arrays, 2))


def test_the_zeros_beyond_the_edge_never_win():
    x = -np.ones((3, 3, 1))
    np.testing.assert_array_equal(cnnjax.max_pool2d(x, 3, stride=1, padding="SAME"), x)
    assert cnnjax.max_pool2d(-np.inf * x * -1, 3).item() == -np.inf


def test_the_norm_lies_between_the_largest_modulus_and_the_sum():
    x = normal((4, 6, 2), "norm")
    largest = cnnjax.max_pool2d(np.abs(x), 2)
    norms = [cnnjax.lp_pool2d(x, 2, p=p) for p in (1.0, 1.5, 2, 7.0, 400.0)]
    for more, less in itertools.pairwise(norms):
        assert (more >= less).all()
    # The p-norm of four numbers is at most 4^(1/p) times the largest.
    assert (norms[-1] >= largest * (1 - 1e-14)).all()
    assert (norms[-1] <= largest * 4 ** (1 / 400) * (1 + 1e-14)).all()


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_no_power_overflows_or_underflows(scale):
    x = scale * np.array([[3.0, 4.0], [0.0, 0.0]])[..., None]
    value, gradient = jax.value_and_grad(lambda x: cnnjax.lp_pool2d(x, 2).sum())(x)
    np.testing.assert_allclose(value, 5 * scale, rtol=4e-16)
    np.testing.assert_allclose(gradient[..., 0], [[0.6, 0.8], [0, 0]], rtol=4e-16)


def test_numbers_that_are_not_finite_are_not_hidden():
    for bad, seen in ((np.nan, np.isnan), (np.inf, np.isposinf)):
        x = np.array([[bad, 1.0], [0.0, 0.0]])[..., None]
        for pool in (cnnjax.max_pool2d, cnnjax.avg_pool2d, cnnjax.lp_pool2d):
            assert seen(pool(x, 2)).all()


# Gradients


def test_the_gradient_of_a_maximum_goes_to_the_largest_and_is_shared_by_equals():
    x = jnp.array([[1.0, 5.0, 2.0, 2.0], [3.0, 4.0, 2.0, 0.0]])[..., None]
    gradient = jax.grad(lambda x: jnp.sum(cnnjax.max_pool2d(x) * jnp.array([1.0, 3.0])[None, :, None]))(x)
    np.testing.assert_array_equal(gradient[..., 0], [[0, 1, 1, 1], [0, 0, 1, 0]])
    constant = jax.grad(lambda x: cnnjax.max_pool2d(x, 2, stride=1, padding="SAME").sum())(jnp.zeros((2, 2, 1)))
    np.testing.assert_array_equal(constant[..., 0], [[0.25, 0.75], [0.75, 2.25]])  # shared with no zero beyond the edge


def central_difference(f, x, direction):
    """Along a direction, with the error estimate that two step sizes give."""
    step = lambda h: (f(x + h * direction) - f(x - h * direction)) / (2 * h)  # noqa: E731
    coarse, fine = step(2e-4), step(1e-4)
    return fine + (fine - coarse) / 3, abs(fine - coarse) + 1e-10


POOLS = {
    "max": lambda x, where: cnnjax.max_pool2d(x, where["window"], **settings(where)),
    "avg": lambda x, where: cnnjax.avg_pool2d(x, where["window"], **settings(where)),
    "lp 3": lambda x, where: cnnjax.lp_pool2d(x, where["window"], p=3, **settings(where)),
    "lp 1.5": lambda x, where: cnnjax.lp_pool2d(x, where["window"], p=1.5, **settings(where)),
    "subsample": lambda x, where: cnnjax.subsample2d(x, W, B, window=where["window"], **settings(where)),
}
W, B = normal((3,), "w"), normal((3,), "b")


@pytest.mark.parametrize("pool", POOLS)
def test_gradients_and_second_derivatives_equal_differences(pool):
    where = WHERE[14]  # windows that overlap, over an edge that is mirrored
    x = normal(SHAPE, "smooth point")
    x = np.sign(x) * (np.abs(x) + 0.1)  # away from the kink of the modulus
    direction, weights = normal(SHAPE, "direction"), normal(POOLS[pool](x, where).shape, "weights")
    loss = jax.jit(lambda x: jnp.sum(jnp.sin(POOLS[pool](x, where)) * weights))
    gradient = jax.jit(jax.grad(loss))
    expected, error = central_difference(loss, x, direction)
    assert abs(jnp.vdot(gradient(x), direction) - expected) <= error
    assert abs(jax.jvp(loss, (x,), (direction,))[1] - expected) <= error
    curvature, error = central_difference(lambda x: jnp.vdot(gradient(x), weights_of(direction)), x, direction)
    ours = jnp.vdot(jax.jit(lambda x, d: jax.jvp(gradient, (x,), (d,))[1])(x, direction), weights_of(direction))
    assert abs(ours - curvature) <= error


def weights_of(direction):
    return np.roll(direction, 1)


def test_the_gradients_of_subsampling_are_sums():
    x, w, b, y = integers(SHAPE, "x"), integers((3,), "w"), integers((3,), "b"), integers((2, 2, 3, 3), "y")
    by_x, by_w, by_b = jax.vjp(cnnjax.subsample2d, x, w, b)[1](y)
    sums = reference.subsample(x, np.ones(3), np.zeros(3), (2, 2), stride=2)
    np.testing.assert_array_equal(by_w, (sums * y).sum((0, 1, 2)))
    np.testing.assert_array_equal(by_b, y.sum((0, 1, 2)))
    np.testing.assert_array_equal(by_x[:, :4], np.repeat(np.repeat(y * w, 2, 1), 2, 2))
    np.testing.assert_array_equal(by_x[:, 4:], np.zeros((2, 1, 6, 3)))


@pytest.mark.parametrize("p", [1, 1.5, 2.0, 3])
def test_the_gradient_of_a_norm_is_finite_everywhere_and_zero_at_zero(p):
    x = jnp.zeros((2, 4, 1)).at[0, 2, 0].set(2.0)  # one window of zeros, one that is not
    f = lambda x: cnnjax.lp_pool2d(x, 2, p=p).sum()  # noqa: E731
    gradient = jax.grad(f)(x)
    np.testing.assert_allclose(gradient[..., 0], [[0, 0, 1, 0], [0, 0, 0, 0]], rtol=1e-15)
    np.testing.assert_array_equal(jax.hessian(f)(jnp.zeros((2, 2, 1))), np.zeros((2, 2, 1) * 2))


def test_beside_another_number_a_zero_has_the_curvature_of_the_norm():
    x = jnp.array([[2.0, 0.0], [0.0, 0.0]])[..., None]
    hessian = jax.hessian(lambda x: cnnjax.lp_pool2d(x).sum())(x).reshape(4, 4)
    np.testing.assert_allclose(hessian, np.diag([0, 0.5, 0.5, 0.5]), rtol=1e-15, atol=1e-15)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_16_bit_windows_are_added_up_in_float32(dtype):
    """2048 + 1 is 2048 in float16, and 256 + 1 is 256 in bfloat16: kept there, a sum of ones would stop growing."""
    first = 256 if dtype == "bfloat16" else 2048
    x = jnp.ones((5, 5, 1), dtype).at[0, 0].set(first)
    total, mean = jax.jit(lambda x, w: (cnnjax.subsample2d(x, w, window=5), cnnjax.avg_pool2d(x, 5)))(
        x, jnp.ones(1, dtype)
    )
    assert total.item() == first + 24
    assert mean.item() == jnp.asarray((first + 24) / 25, dtype)
    assert mean.dtype == dtype
    assert cnnjax.max_pool2d(x, 2).dtype == cnnjax.lp_pool2d(x, 2).dtype == dtype
    y = normal((4, 4, 1), "16", dtype)
    exact = reference.avg_pool(wide(y)[None], (2, 2), stride=2)[0]
    sizes = reference.avg_pool(np.abs(wide(y))[None], (2, 2), stride=2)[0]
    assert_within(cnnjax.avg_pool2d(y), exact, sum_bound(sizes, 5, dtype, exact))


def test_complex_images_have_a_mean_and_a_subsampling():
    x = normal((1, 4, 4, 2), "complex", "complex128")
    np.testing.assert_allclose(cnnjax.avg_pool2d(x), reference.avg_pool(x, (2, 2), stride=2), rtol=0, atol=1e-15)
    w = normal((2,), "w", "complex128")
    exact = reference.subsample(x, w, np.zeros(2), (2, 2), stride=2)
    np.testing.assert_allclose(cnnjax.subsample2d(x, w), exact, rtol=0, atol=1e-14)


def test_32_bits_are_enough_for_a_user_without_x64(float32_world):
    x = normal((4, 4, 1), "32", "float32")
    for pool in (cnnjax.max_pool2d, cnnjax.avg_pool2d, cnnjax.lp_pool2d):
        assert pool(x).dtype == pool(x.astype(float)).dtype == jnp.float32
