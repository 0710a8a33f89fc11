"""A test primitive, the elementwise product, under every transformation."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.operator._jax import bilinear_primitive, bind, set_rules

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
