"""A test primitive, the elementwise product, under every transformation."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import checkify, jet

from cnnjax.operator._jax import ShardingTypeError, bilinear_primitive, bind, set_rules

PLATFORMS = []


def compute(a, b, *, size, dtype, platform):
    PLATFORMS.append(platform)
    return (a * b).astype(dtype)


PRODUCT = bilinear_primitive("test_product", compute, lambda size: size, lambda a, b, size: a.sharding.spec)


def times(a, b):
    dtype = jnp.result_type(a, b)
    return bind(PRODUCT, a, b, size=a.shape, dtype=dtype, sharding=None)


def transpose(cotangent, other, *, size, dtype, dtype_of_result, sharding):
    return bind(PRODUCT, cotangent, other, size=size, dtype=dtype_of_result, sharding=sharding)


def batch(operands, axes, *, size, dtype, sharding):
    count = next(a.shape[axis] for a, axis in zip(operands, axes, strict=True) if axis is not None)
    full = [
        jnp.broadcast_to(a, (count, *size)) if axis is None else jnp.moveaxis(a, axis, 0)
        for a, axis in zip(operands, axes, strict=True)
    ]
    return bind(PRODUCT, *full, size=(count, *size), dtype=dtype, sharding=None), 0


set_rules(PRODUCT, transpose, transpose, batch)
A, B = jnp.arange(6.0).reshape(2, 3), jnp.arange(6.0).reshape(2, 3)[::-1] - 1


def test_it_computes_eagerly_and_jitted():
    np.testing.assert_array_equal(times(A, B), A * B)
    np.testing.assert_array_equal(jax.jit(times)(A, B), A * B)
    assert jax.eval_shape(times, A, B).shape == (2, 3)


def test_it_is_differentiated_in_both_modes_and_twice():
    cube = lambda a: jnp.sum(times(times(a, a), a))  # noqa: E731
    np.testing.assert_array_equal(jax.grad(cube)(A), 3 * A**2)
    np.testing.assert_array_equal(jax.jvp(cube, (A,), (B,))[1], jnp.sum(3 * A**2 * B))
    np.testing.assert_array_equal(jax.grad(lambda a: jnp.vdot(jax.grad(cube)(a), B))(A), 6 * A * B)


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0), (1, 0)])
def test_it_is_batched_over_either_or_both_operands(axes):
    stacked = jnp.stack([A, 2 * A, 3 * A])
    a, b = (jnp.moveaxis(stacked, 0, axis) if axis is not None else B for axis in axes)
    ours, plain = (jax.vmap(f, in_axes=axes)(a, b) for f in (times, jnp.multiply))
    np.testing.assert_array_equal(ours, plain)


def test_it_is_told_what_it_is_compiled_for():
    step, shape = jax.jit(lambda a, b: times(a, b) + 1), jax.ShapeDtypeStruct((2, 3), jnp.float32)

    def told(lower):
        PLATFORMS.clear()
        lower()
        return set(PLATFORMS)

    assert told(lambda: step.lower(shape, shape)) == {"cpu"}
    assert told(lambda: jax.export.export(step, platforms=("cpu",))(shape, shape)) == {"any cpu"}
    assert told(lambda: step.trace(shape, shape).lower(lowering_platforms=("cuda",))) == {"accelerator"}
    assert told(lambda: jax.export.export(step, platforms=("cpu", "tpu"))(shape, shape)) == {"any cpu", "accelerator"}


@pytest.mark.parametrize("used", ["directory", "opened cache", "serialize_executable", "nothing", "disabled"])
def test_it_is_told_whether_its_program_may_be_stored(used, monkeypatch):
    monkeypatch.delitem(sys.modules, "jax.experimental.serialize_executable", raising=False)
    shape, of_jax = jax.ShapeDtypeStruct((2, 3), jnp.float32), jax.config.jax_compilation_cache_dir
    if used == "serialize_executable":
        monkeypatch.setitem(sys.modules, "jax.experimental.serialize_executable", object())
    if used == "opened cache":
        monkeypatch.setattr("jax._src.compilation_cache._cache", object())
    PLATFORMS.clear()
    try:
        jax.config.update("jax_compilation_cache_dir", "unused" if used in ("directory", "disabled") else None)
        jax.config.update("jax_enable_compilation_cache", used != "disabled")
        jax.jit(lambda a, b: times(a, b) + 1).lower(shape, shape)
    finally:
        jax.config.update("jax_compilation_cache_dir", of_jax)
        jax.config.update("jax_enable_compilation_cache", True)
    assert set(PLATFORMS) == {"cpu" if used in ("nothing", "disabled") else "stored cpu"}


def test_it_is_replicated_and_varying_within_shard_map():
    mesh = jax.make_mesh((1,), ("a",), axis_types=(jax.sharding.AxisType.Auto,))
    split, same = jax.sharding.PartitionSpec("a"), jax.sharding.PartitionSpec()
    loss = lambda a, b: jax.lax.psum(jnp.sum(times(a, b)), "a")  # noqa: E731
    mapped = jax.shard_map(jax.grad(loss, (0, 1)), mesh=mesh, in_specs=(split, same), out_specs=(split, same))
    by_a, by_b = jax.jit(mapped)(A, B)
    np.testing.assert_array_equal(by_a, B)
    np.testing.assert_array_equal(by_b, A)


def test_it_is_evaluated_and_lowered_with_jit_disabled():
    with jax.disable_jit():
        np.testing.assert_array_equal(times(A, B), A * B)
        compiled = jax.jit(times).lower(A, B).compile()
    np.testing.assert_array_equal(compiled(A, B), A * B)


def test_it_has_a_taylor_series():
    value, terms = jet.jet(times, (A, B), ((A, B), (B, A)))
    expected, of_product = jet.jet(jnp.multiply, (A, B), ((A, B), (B, A)))
    np.testing.assert_allclose([value, *terms], [expected, *of_product])


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit, jax.vmap])
def test_checkify_names_it_where_it_makes_a_nan(transform):
    error, _ = checkify.checkify(transform(times), errors=checkify.float_checks)(A, B / 0 * 0)
    assert "nan generated by primitive: test_product" in error.get()
    assert checkify.checkify(transform(times), errors=checkify.float_checks)(A, B)[0].get() is None


def test_it_is_the_error_of_jax_for_shardings_that_do_not_determine_that_of_the_result():
    mesh = jax.make_mesh((1,), ("a",), axis_types=(jax.sharding.AxisType.Explicit,))
    rows, columns = (jax.sharding.PartitionSpec(*spec) for spec in (("a", None), (None, "a")))
    with jax.set_mesh(mesh), pytest.raises(ShardingTypeError):
        jnp.add(jax.device_put(A, rows), jax.device_put(B, columns))


def test_on_explicit_axes_it_is_computed_as_on_automatic_ones():
    mesh = jax.make_mesh((1,), ("a",), axis_types=(jax.sharding.AxisType.Explicit,))
    with jax.set_mesh(mesh):
        a, b = (jax.device_put(operand, jax.sharding.PartitionSpec("a")) for operand in (A, B))
        for run in (times, jax.jit(times)):
            assert jax.typeof(run(a, b)).sharding.spec == jax.sharding.PartitionSpec("a", None)
            np.testing.assert_array_equal(run(a, b), A * B)
        by_a = jax.jit(jax.grad(lambda a: jnp.sum(times(a, b))))(a)
        assert jax.typeof(by_a).sharding.spec == jax.sharding.PartitionSpec("a", None)
        np.testing.assert_array_equal(by_a, B)
