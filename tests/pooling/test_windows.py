"""All pools against the loops of the oracle: windows, strides, paddings, modes of JAX, numbers that are not finite."""

import inspect
import os
import subprocess
import sys

import hypothesis
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from cases import assert_within, axes, integers, normal, product, sum_bound, wide
from hypothesis import strategies as st
from jax.experimental import checkify, jet

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


def test_numbers_that_are_not_finite_are_not_hidden():
    for bad, seen in ((np.nan, np.isnan), (np.inf, np.isposinf)):
        x = np.array([[bad, 1.0], [0.0, 0.0]])[..., None]
        for pool in (cnnjax.max_pool2d, cnnjax.avg_pool2d, cnnjax.lp_pool2d):
            assert seen(pool(x, 2)).all()


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


def test_32_bits_are_enough_for_a_user_without_x64(float32_world):
    x = normal((4, 4, 1), "32", "float32")
    for pool in (cnnjax.max_pool2d, cnnjax.avg_pool2d, cnnjax.lp_pool2d):
        assert pool(x).dtype == pool(x.astype(float)).dtype == jnp.float32


# One to three axes, over windows, strides and paddings

NAMES = ("max", "avg", "lp", "subsample")


def pool_of(name, axes):
    return {
        "max": lambda x, window, **how: getattr(cnnjax, f"max_pool{axes}d")(x, window, **how),
        "avg": lambda x, window, **how: getattr(cnnjax, f"avg_pool{axes}d")(x, window, **how),
        "lp": lambda x, window, **how: getattr(cnnjax, f"lp_pool{axes}d")(x, window, p=3, **how),
        "subsample": lambda x, window, **how: cnnjax.subsample2d(
            x, jnp.ones(x.shape[-1:], x.dtype), None, window, **how
        ),
    }[name]


@st.composite
def placements(draw):
    size, window, where = draw(axes(draw(st.integers(1, 3))))
    del where["dilation"]
    window = tuple(draw(st.integers(k, max(k, n))) for n, k in zip(size, window, strict=True))  # up to the image
    if where["padding"] == "VALID" or not isinstance(where["padding"], str):
        pads = [(draw(st.integers(0, k - 1)), draw(st.integers(0, k - 1))) for k in window]
        pads = [(a, max(b, k - n - a)) for (a, b), n, k in zip(pads, size, window, strict=True)]
        hypothesis.assume(all(b < k for (_, b), k in zip(pads, window, strict=True)))
        where["padding"] = tuple(pads)
    hypothesis.assume(where["padding"] != "REFLECT" or all(k // 2 < n for n, k in zip(size, window, strict=True)))
    hypothesis.assume(where["padding"] != "SAME" or all(k <= 2 * n - 1 for n, k in zip(size, window, strict=True)))
    return size, window, where


@hypothesis.settings(max_examples=25)
@hypothesis.given(placements())
def test_pools_of_any_window_equal_the_loops(placement):
    size, window, where = placement
    x = integers((2, *size, 2), "any window")
    largest, mean, norm = (pool_of(name, len(size))(x, window, **where) for name in ("max", "avg", "lp"))
    np.testing.assert_array_equal(largest, reference.max_pool(x, window, **where))
    eps = np.finfo(float).eps
    np.testing.assert_allclose(mean, reference.avg_pool(x, window, **where), rtol=2 * eps, atol=0)
    bound = (np.prod(window) + 24 + 8 * len(window)) * eps
    np.testing.assert_allclose(norm, reference.lp_pool(x, window, 3, **where), rtol=bound)


# The size of the program


@pytest.mark.parametrize("stride", [1, None])
@pytest.mark.parametrize("name", NAMES)
def test_the_program_does_not_grow_with_the_window(name, stride):
    def size(window):
        pool = pool_of(name, 2)
        loss = lambda x: jnp.sum(pool(x, window, stride=stride, padding=1))  # noqa: E731
        return len(jax.jit(jax.grad(loss)).lower(jnp.zeros((1, 80, 80, 1))).as_text().splitlines())

    written_out = max(size(window) for window in (2, 3, 4, 8, 26))
    longest = [size(window) for window in (32, 48, 64, 78)]
    assert max(longest) <= 1.1 * written_out
    assert max(longest[1:]) <= longest[0] + 20


# A number that is not finite reaches only what reads it

CONTAINED = [
    {"window": 2, "stride": 2, "padding": 0},
    {"window": 2, "stride": 3, "padding": 1},
    {"window": (3, 2), "stride": (2, 1), "padding": 1},
    {"window": 4, "stride": 3, "padding": (2, 1)},
    {"window": 10, "stride": 1, "padding": 5},
    {"window": 11, "stride": 11, "padding": 0},
]


def windows_of(size, where):
    """For each window along one axis and each pixel, whether the window contains it, (H_out, H)."""
    geometry = cnnjax.pooling.pool_geometry("test", size, **where)
    parts = []
    for n, k, s, positions, (before, _) in zip(
        geometry.size, geometry.kernel, geometry.stride, geometry.output, geometry.pads, strict=True
    ):
        offset = np.arange(n)[None] - (np.arange(positions)[:, None] * s - before)
        parts.append((offset >= 0) & (offset < k))
    return parts


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", CONTAINED, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_a_number_that_is_not_finite_stays_in_its_windows(name, where, bad):
    window, how = where["window"], {"stride": where["stride"], "padding": where["padding"]}
    pool = lambda x: pool_of(name, 2)(x, window, **how)  # noqa: E731
    rows, columns = windows_of((11, 12), where)
    x = normal((2, 11, 12, 2), "contained")
    run = jax.jit(lambda x, y: (pool(x), jax.vjp(pool, x)[1](y)[0]))
    y = np.ones(jax.eval_shape(pool, x).shape)
    for i, j in ((0, 0), (4, 7), (10, 11)):
        image = x.copy()
        image[1, i, j, 0] = bad
        value, gradient = run(image, y)
        reads = rows[:, i][:, None] & columns[:, j][None]
        touched = np.zeros(value.shape, bool)
        touched[1, :, :, 0] = reads
        seen = ~np.isfinite(value)
        assert not (seen & ~touched).any()
        if name != "max" or np.isnan(bad) or bad > 0:
            np.testing.assert_array_equal(seen, touched)
        beside = np.zeros(x.shape, bool)
        beside[1, :, :, 0] = (reads[:, :, None, None] & rows[:, None, :, None] & columns[None, :, None, :]).any((0, 1))
        assert not (~np.isfinite(np.asarray(gradient)) & ~beside).any()
    position = tuple(n // 2 for n in y.shape[1:3])
    cotangent = y.copy()
    cotangent[(0, *position, 1)] = bad
    gradient = np.asarray(run(x, cotangent)[1])
    inside = np.zeros(x.shape, bool)
    inside[0, :, :, 1] = rows[position[0]][:, None] & columns[position[1]][None]
    assert (~np.isfinite(gradient)).any()
    assert not (~np.isfinite(gradient) & ~inside).any()


# Modes of JAX

PLACES = [{"window": 2}, {"window": 3, "stride": 2, "padding": 1, "ceil_mode": True}, {"window": 10, "stride": 1}]
each_place = pytest.mark.parametrize("place", PLACES, ids=str)
each_pool = pytest.mark.parametrize("name", NAMES)


@each_place
@each_pool
def test_a_pool_exports_with_symbolic_batch_height_and_width(name, place):
    pool = lambda x: pool_of(name, 2)(x, **place)  # noqa: E731
    shape = jax.export.symbolic_shape("b, h, w, 2", constraints=("h >= 12", "w >= 12"))
    argument = jax.ShapeDtypeStruct(shape, jnp.float64)
    x = normal((3, 13, 16, 2), "export")
    for f in (pool, jax.grad(lambda x: jnp.sum(pool(x) ** 2))):
        exported = jax.export.export(jax.jit(f))(argument)
        np.testing.assert_allclose(exported.call(x), f(x), rtol=1e-12, atol=1e-14)


@each_place
@each_pool
def test_an_eager_pool_sends_nothing_to_the_device(name, place):
    x = jnp.asarray(normal((2, 12, 12, 2), "guard"))
    one, ones = x + 0, jnp.ones(2)
    pool = pool_of(name, 2)
    if name == "subsample":
        pool = lambda x, **place: cnnjax.subsample2d(x, ones, **place)  # noqa: E731
    y = pool(x, **place)
    with jax.transfer_guard("disallow"):
        np_y, pull = jax.vjp(lambda x: pool(x, **place), one)
        gradient = pull(y)[0]
    np.testing.assert_allclose(np_y, y, rtol=1e-14)
    assert gradient.shape == x.shape


@each_place
@each_pool
def test_a_pool_works_without_jit_and_under_nan_checks(name, place):
    x = normal((2, 12, 12, 2), "modes")
    f = lambda x: jnp.sum(pool_of(name, 2)(x, **place) ** 2)  # noqa: E731
    value, gradient = jax.value_and_grad(f)(x)
    with jax.disable_jit():
        plain = jax.value_and_grad(f)(x)
    with jax.debug_nans(True), jax.debug_infs(True):
        checked = jax.value_and_grad(f)(x)
    for other in (plain, checked):
        np.testing.assert_allclose(other[0], value, rtol=1e-13)
        np.testing.assert_allclose(other[1], gradient, rtol=1e-12, atol=1e-14)
    error, _ = checkify.checkify(jax.grad(f), errors=checkify.float_checks)(x)
    error.throw()


@each_place
@each_pool
def test_no_examples_give_no_results(name, place):
    pool = lambda x: pool_of(name, 2)(x, **place)  # noqa: E731
    for f in (pool, jax.vmap(pool)):
        x = jnp.zeros((0, *((3,) if f is not pool else ()), 12, 12, 2))
        y, pull = jax.vjp(f, x)
        assert y.shape[0] == 0
        assert y.shape[-3:-1] == jax.eval_shape(pool, jnp.zeros((1, 12, 12, 2))).shape[1:3]
        assert pull(y)[0].shape == x.shape


@pytest.mark.parametrize("name", ["avg", "subsample"])
@each_place
def test_a_linear_pool_has_its_taylor_series(name, place):
    x = jnp.asarray(normal((1, 12, 12, 2), "jet"))
    pool = lambda x: pool_of(name, 2)(x, **place)  # noqa: E731
    value, (first, second) = jet.jet(pool, (x,), ((2 * x, 3 * x),))
    for term, factor in ((value, 1), (first, 2), (second, 3)):
        np.testing.assert_allclose(term, factor * pool(x), rtol=1e-13, atol=1e-14)


def test_pools_keep_the_sharding_of_an_explicit_mesh():
    """In another process, which has two devices."""
    code = """
import jax, jax.numpy as jnp, numpy as np, cnnjax
from jax.sharding import NamedSharding, PartitionSpec as P
mesh = jax.make_mesh((2,), ("batch",), axis_types=(jax.sharding.AxisType.Explicit,))
x = np.random.default_rng(0).standard_normal((4, 12, 12, 2)).astype("float32")
for place in ({"window": 2}, {"window": 3, "stride": 2, "padding": 1, "ceil_mode": True}, {"window": 10, "stride": 1}):
    for pool in (cnnjax.max_pool2d, cnnjax.avg_pool2d, cnnjax.lp_pool2d):
        f = lambda x: pool(x, **place)
        g = jax.grad(lambda x: jnp.sum(f(x) ** 2))
        for h in (f, g):
            with jax.set_mesh(mesh):
                y = jax.jit(h)(jax.device_put(x, NamedSharding(mesh, P("batch"))))
            assert jax.typeof(y).sharding.spec[0] == "batch", (pool, place)
            np.testing.assert_allclose(y, h(x), rtol=1e-4, atol=1e-5)
        mapped = jax.jit(jax.shard_map(f, mesh=mesh, in_specs=P("batch"), out_specs=P("batch")))
        np.testing.assert_allclose(mapped(jax.device_put(x, NamedSharding(mesh, P("batch")))), f(x), rtol=1e-5)
"""
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
