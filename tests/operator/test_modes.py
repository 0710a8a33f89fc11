"""Every transformation and mode of JAX, with our convolutions and JAX's own: the same values, gradients and errors.

The page docs/guides/transformations.md lists them, each with the test that shows it.
"""

import contextlib
import copy
import io
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export, lax
from jax.experimental import checkify, jet
from jax.sharding import AxisType, PartitionSpec

import cnnjax

REPOSITORY = Path(__file__).parents[2]
RANDOM = np.random.default_rng(0)


def of_jax(x, w, stride, padding, groups):
    names = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, w, stride, padding, dimension_numbers=names, feature_group_count=groups)


# Ours, JAX's own, the shape of x and that of w.
OPERATIONS = {
    "conv2d": (
        lambda x, w: cnnjax.conv2d(x, w, padding="SAME"),
        lambda x, w: of_jax(x, w, (1, 1), "SAME", 1),
        (2, 7, 6, 4),
        (3, 3, 4, 6),
    ),
    "one map": (
        lambda x, w: cnnjax.conv2d(x, w, stride=2),
        lambda x, w: of_jax(x, w, (2, 2), "VALID", 1),
        (2, 9, 8, 1),
        (3, 3, 1, 4),
    ),
    "depthwise": (
        lambda x, w: cnnjax.conv2d(x, w, groups=4),
        lambda x, w: of_jax(x, w, (1, 1), "VALID", 4),
        (2, 7, 6, 4),
        (3, 3, 1, 8),
    ),
    "transposed": (
        lambda y, w: cnnjax.conv2d_transpose(y, w, stride=2),
        lambda y, w: lax.conv_transpose(
            y, w, (2, 2), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"), transpose_kernel=True
        ),
        (2, 7, 6, 4),
        (3, 3, 6, 4),
    ),
}


def loss(f):
    return lambda x, w: jnp.sum(jnp.tanh(f(x, w)) ** 2)


def gradients(f):
    return jax.grad(loss(f), (0, 1))


def loop_over(f, x, w):
    """A value that depends on f in a loop, with gradients through it."""
    return lax.scan(lambda total, x: (total + jnp.sum(f(x, w)), None), jnp.zeros((), x.dtype), jnp.stack([x, 2 * x]))[0]


def with_checks(f, x, w):
    checked = checkify.checkify(jax.jit(gradients(f)), errors=checkify.float_checks | checkify.user_checks)
    error, result = checked(x, w)
    error.throw()
    return result


def custom_rule(f, x, w):
    ours = jax.custom_vjp(f)
    ours.defvjp(lambda x, w: (f(x, w), (x, w)), lambda saved, y: jax.vjp(f, *saved)[1](3 * y))
    return gradients(ours)(x, w)


def custom_tangent(f, x, w):
    ours = jax.custom_jvp(f)
    ours.defjvp(lambda primals, tangents: (f(*primals), 2 * jax.jvp(f, primals, tangents)[1]))
    return gradients(ours)(x, w)


def custom_batching(f, x, w):
    ours = jax.custom_batching.custom_vmap(f)
    ours.def_vmap(lambda size, batched, xs, w: (lax.map(lambda x: f(x, w), xs), True))
    return jax.vmap(ours, (0, None))(jnp.stack([x, -x]), w)


def sharded(f, x, w, check_vma):
    mesh = jax.make_mesh((1,), ("a",), axis_types=(AxisType.Auto,))
    split, same = PartitionSpec("a"), PartitionSpec()
    summed = lambda x, w: lax.psum(loss(f)(x, w), "a")  # noqa: E731
    if not check_vma:
        return jax.jit(jax.shard_map(f, mesh=mesh, in_specs=(split, same), out_specs=split, check_vma=False))(x, w)
    mapped = jax.shard_map(jax.grad(summed, (0, 1)), mesh=mesh, in_specs=(split, same), out_specs=(split, same))
    return jax.jit(mapped)(x, w)


def on_explicit_mesh(f, x, w):
    mesh = jax.make_mesh((1,), ("a",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        x, w = jax.device_put(x, PartitionSpec("a")), jax.device_put(w, PartitionSpec())
        tangents = jax.jit(lambda x, w: jax.jvp(f, (x, w), (x, w)))(x, w)
        return jax.jit(gradients(f))(x, w), gradients(f)(x, w), tangents


def through_export(f, x, w, *, platforms=("cpu",), bytes_too=False, symbols=None):
    constraints = ("h >= 5", "w >= 5") if symbols and "h" in symbols else ()
    shapes = [export.symbolic_shape(symbols, constraints=constraints) if symbols else x.shape, w.shape]
    exported = export.export(jax.jit(lambda x, w: (f(x, w), gradients(f)(x, w))), platforms=platforms)(
        *(jax.ShapeDtypeStruct(shape, x.dtype) for shape in shapes)
    )
    return (export.deserialize(exported.serialize()) if bytes_too else exported).call(x, w)


def serialized(f, x, w):
    pytest.importorskip("flatbuffers")
    return through_export(f, x, w, bytes_too=True)


def guarded(f, x, w):
    """Eagerly and compiled; a loss would move its constants, in JAX too."""
    y = jnp.ones_like(f(x, w))
    with jax.transfer_guard("disallow"):
        return f(x, w), jax.vjp(f, x, w)[1](y), jax.jit(lambda x, w, y: jax.vjp(f, x, w)[1](y))(x, w, y)


@contextlib.contextmanager
def option(name, value):
    before = getattr(jax.config, name)
    jax.config.update(name, value)
    try:
        yield
    finally:
        jax.config.update(name, before)


def under(context):
    """The value and the gradients within a context, eagerly and compiled."""

    def run(f, x, w):
        with context():
            return f(x, w), gradients(f)(x, w), jax.jit(gradients(f))(x, w)

    return run


def remat(policy):
    return lambda f, x, w: jax.jit(jax.grad(jax.checkpoint(loss(f), policy=policy), (0, 1)))(x, w)


TWICE = jax.checkpoint_policies.save_from_both_policies(
    jax.checkpoint_policies.dots_saveable, jax.checkpoint_policies.save_only_these_names("y")
)
MODES = {
    # Transformations
    "jax.jit": lambda f, x, w: jax.jit(f)(x, w),
    "no jax.jit": lambda f, x, w: f(x, w),
    "jax.grad": lambda f, x, w: gradients(f)(x, w),
    "jax.value_and_grad": lambda f, x, w: jax.jit(jax.value_and_grad(loss(f), (0, 1)))(x, w),
    "jax.vjp": lambda f, x, w: jax.vjp(f, x, w)[1](f(x, w)),
    "jax.jvp": lambda f, x, w: jax.jvp(f, (x, w), (w.sum() * x, w)),
    "jax.linearize": lambda f, x, w: jax.linearize(f, x, w)[1](x, w),
    "jax.linear_transpose": lambda f, x, w: jax.linear_transpose(lambda x: f(x, w), x)(f(x, w)),
    "jax.jacfwd": lambda f, x, w: jax.jit(jax.jacfwd(lambda w: f(x[:1, :5, :5], w)))(w),
    "jax.jacrev": lambda f, x, w: jax.jit(jax.jacrev(lambda w: f(x[:1, :5, :5], w)))(w),
    "jax.hessian": lambda f, x, w: jax.jit(jax.hessian(lambda s: loss(f)(s * x, w * s**2)))(jnp.asarray(0.5, x.dtype)),
    "jax.vmap over x": lambda f, x, w: jax.vmap(f, (1, None))(jnp.stack([x, -x], 1), w),
    "jax.vmap over w": lambda f, x, w: jax.jit(jax.vmap(gradients(f), (None, 0)))(x, jnp.stack([w, -w])),
    "jax.vmap over x and w": lambda f, x, w: jax.jit(jax.vmap(gradients(f)))(jnp.stack([x, -x]), jnp.stack([w, -w])),
    "jax.vmap, spmd_axis_name": lambda f, x, w: jax.vmap(f, (0, None), spmd_axis_name="a")(jnp.stack([x, -x]), w),
    "jax.checkpoint": remat(None),
    "jax.checkpoint, nothing_saveable": remat(jax.checkpoint_policies.nothing_saveable),
    "jax.checkpoint, everything_saveable": remat(jax.checkpoint_policies.everything_saveable),
    "jax.checkpoint, dots_saveable": remat(jax.checkpoint_policies.dots_saveable),
    "jax.checkpoint, save_from_both_policies": remat(TWICE),
    "jax.custom_vjp": custom_rule,
    "jax.custom_jvp": custom_tangent,
    "jax.custom_batching.custom_vmap": custom_batching,
    "jax.experimental.jet": lambda f, x, w: jet.jet(lambda x, w: jnp.tanh(f(x, w)), (x, w), ((x, 2 * x), (w, 3 * w))),
    # Control flow
    "lax.scan": lambda f, x, w: jax.jit(jax.value_and_grad(lambda x, w: loop_over(f, x, w), (0, 1)))(x, w),
    "lax.map": lambda f, x, w: lax.map(lambda x: f(x, w), jnp.stack([x, -x])),
    "lax.fori_loop": lambda f, x, w: lax.fori_loop(0, 2, lambda i, y: y + f(x, w) * i, jnp.zeros_like(f(x, w))),
    "lax.while_loop": lambda f, x, w: lax.while_loop(
        lambda state: state[0] < 2, lambda state: (state[0] + 1, state[1] + f(x, w)), (0, jnp.zeros_like(f(x, w)))
    )[1],
    "lax.cond": lambda f, x, w: jax.jit(gradients(lambda x, w: lax.cond(x.sum() > 0, f, lambda x, w: -f(x, w), x, w)))(
        x, w
    ),
    "lax.switch": lambda f, x, w: lax.switch(jnp.argmax(x.ravel()[:2]), [f, lambda x, w: 2 * f(x, w)], x, w),
    # Devices
    "jax.pmap": lambda f, x, w: jax.pmap(gradients(f), in_axes=(0, None))(x[None], w),
    "jax.shard_map": lambda f, x, w: sharded(f, x, w, True),
    "jax.shard_map, check_vma=False": lambda f, x, w: sharded(f, x, w, False),
    "explicit mesh": on_explicit_mesh,
    "jax.default_device": under(lambda: jax.default_device(jax.devices()[0])),
    "jax.transfer_guard": guarded,
    # Programs
    "jax.eval_shape": lambda f, x, w: jnp.zeros(jax.eval_shape(f, x, w).shape, jax.eval_shape(f, x, w).dtype),
    "jax.make_jaxpr": lambda f, x, w: jax.core.eval_jaxpr(jax.make_jaxpr(f)(x, w).jaxpr, [], x, w),
    "lower and compile": lambda f, x, w: jax.jit(gradients(f)).lower(x, w).compile()(x, w),
    "jax.export": lambda f, x, w: through_export(f, x, w),
    "jax.export, several platforms": lambda f, x, w: through_export(f, x, w, platforms=("cpu", "cuda", "tpu")),
    "jax.export, serialized": serialized,
    "jax.export, symbolic batch": lambda f, x, w: through_export(f, x, w, symbols=f"b, {str(x.shape[1:])[1:-1]}"),
    "donated arguments": lambda f, x, w: jax.jit(gradients(f), donate_argnums=0)(x.copy(), w),
    # Modes
    "jax.disable_jit": under(jax.disable_jit),
    "jax.debug_nans": under(lambda: jax.debug_nans(True)),
    "jax.debug_infs": under(lambda: jax.debug_infs(True)),
    "jax.enable_checks": under(lambda: jax.enable_checks(True)),
    "jax.check_tracer_leaks": under(lambda: jax.check_tracer_leaks(True)),
    "jax_debug_key_reuse": under(lambda: option("jax_debug_key_reuse", True)),
    "jax.numpy_dtype_promotion": under(lambda: jax.numpy_dtype_promotion("strict")),
    "jax.numpy_rank_promotion": under(lambda: jax.numpy_rank_promotion("raise")),
    "jax.default_matmul_precision": under(lambda: jax.default_matmul_precision("highest")),
    "jax.named_scope": under(lambda: jax.named_scope("a")),
    "jax.ensure_compile_time_eval": lambda f, x, w: jax.jit(lambda: under(jax.ensure_compile_time_eval)(f, x, w))(),
    "checkify": with_checks,
}


def assert_close(ours, theirs):
    ours, theirs = jax.tree.leaves(ours), jax.tree.leaves(theirs)
    for a, b in zip(ours, theirs, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * max(1.0, np.abs(b).max()))


def operands(operation):
    *functions, x_shape, w_shape = OPERATIONS[operation]
    x, w = (jnp.asarray(RANDOM.normal(size=shape), jnp.float32) for shape in (x_shape, w_shape))
    return functions, x, w


@pytest.mark.filterwarnings("ignore:Some donated buffers")
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("mode", MODES)
def test_values_and_gradients_are_those_of_jax(mode, operation):
    (ours, theirs), x, w = operands(operation)
    assert_close(MODES[mode](ours, x, w), MODES[mode](theirs, x, w))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_symbolic_height_and_width(operation):
    """With a stride, JAX exports its own convolution but not its gradient."""
    (ours, theirs), x, w = operands(operation)
    exported = through_export(ours, x, w, symbols=f"b, h, w, {x.shape[-1]}")
    assert_close(exported, (theirs(x, w), gradients(theirs)(x, w)))


@pytest.mark.parametrize("operation", ["one map", "depthwise"])
def test_symbolic_sizes_that_are_never_large_enough_are_refused(operation):
    (ours, _), x, w = operands(operation)
    batch, height, width = export.symbolic_shape("b, h, w", constraints=("h <= 2", "w >= 3"))
    with pytest.raises(ValueError, match="a kernel of"):
        jax.eval_shape(ours, jax.ShapeDtypeStruct((batch, height, width, x.shape[-1]), x.dtype), w)


SPOILED = {
    "jit": lambda f, x, w: jax.jit(f)(x, w),
    "eager": lambda f, x, w: f(x, w),
    "gradient": lambda f, x, w: jax.jit(jax.grad(lambda w, x: jnp.sum(f(x, w))))(w, x),
    "eager gradient": lambda f, x, w: jax.grad(lambda w, x: jnp.sum(f(x, w)))(w, x),
    "scan": lambda f, x, w: lax.scan(lambda c, x: (c, f(x, w)), 0, x[None]),
    "vmap": lambda f, x, w: jax.jit(jax.vmap(f, (0, None)))(x[None], w),
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("spoiled", SPOILED)
@pytest.mark.parametrize(("context", "value"), [(jax.debug_nans, np.nan), (jax.debug_infs, np.inf)])
def test_a_nan_or_an_infinity_is_a_floating_point_error(context, value, spoiled, operation):
    functions, x, w = operands(operation)
    x = x.at[0, 3, 3, 0].set(value)
    for f in functions:
        with context(True), contextlib.redirect_stdout(io.StringIO()), pytest.raises(FloatingPointError):
            SPOILED[spoiled](f, x, w)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("spoiled", SPOILED)
def test_checkify_reports_a_nan(spoiled, operation):
    functions, x, w = operands(operation)
    x = x.at[0, 3, 3, 0].set(np.nan)
    messages = []
    for f in functions:
        run = lambda x, w, f=f: SPOILED[spoiled](f, x, w)  # noqa: E731
        error, _ = checkify.checkify(run, errors=checkify.float_checks)(x, w)
        messages.append(error.get())
        assert checkify.checkify(run, errors=checkify.user_checks)(x, w)[0].get() is None
    assert "nan generated by primitive" in messages[1]
    assert "nan generated by primitive" in messages[0]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_cost_analysis(operation):
    (ours, theirs), x, w = operands(operation)
    for part in (lambda f: f, gradients):
        counts = [jax.jit(part(f)).lower(x, w).cost_analysis()["flops"] for f in (ours, theirs)]
        assert counts[1] / 2 <= counts[0] <= 8 * counts[1]


# Two devices, on explicit axes: the sharding of the result, the values, and the errors are those of JAX.
EXPLICIT = """
import itertools, jax, jax.numpy as jnp, numpy as np, cnnjax
from jax import lax
from jax.sharding import AxisType, PartitionSpec as P
random = np.random.default_rng(0)
X, W = (random.normal(size=s).astype("f") for s in ((4, 9, 8, 4), (3, 3, 4, 8)))
mesh = jax.make_mesh((2,), ("b",), axis_types=(AxisType.Explicit,))
names = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}
operations = {
    "conv2d": (lambda x, w: cnnjax.conv2d(x, w, padding="SAME"),
               lambda x, w: lax.conv_general_dilated(x, w, (1, 1), "SAME", **names), W),
    "transposed": (lambda x, w: cnnjax.conv2d_transpose(x, w, stride=2),
                   lambda x, w: lax.conv_transpose(x, w, (2, 2), "VALID", **names, transpose_kernel=True),
                   np.swapaxes(W, 2, 3)),
}
grad = lambda f: jax.grad(lambda x, w: jnp.sum(jnp.tanh(f(x, w))), (0, 1))
forms = {
    "value": lambda f: f,
    "gradient": grad,
    "tangent": lambda f: lambda x, w: jax.jvp(f, (x, w), (x, w)),
    "second order": lambda f: jax.grad(lambda x, w: sum(jnp.sum(g**2) for g in grad(f)(x, w)), (0, 1)),
    "remat": lambda f: grad(jax.checkpoint(f)),
    "vmap": lambda f: lambda x, w: jax.vmap(f, (None, 0))(x, jnp.stack([w, 2 * w])),
    "gradient of vmap": lambda f: grad(lambda x, w: jax.vmap(f, (None, 0))(x, jnp.stack([w, 2 * w]))),
    "scan": lambda f: grad(lambda x, w: lax.scan(lambda c, _: (c, f(x, w)), 0, length=2)[1]),
}
def result(f, x, w):
    try:
        out = f(x, w)
    except Exception as error:
        return type(error).__name__
    return [(jax.typeof(a).sharding.spec, np.asarray(a)) for a in jax.tree.leaves(out)]
done = 0
with jax.set_mesh(mesh):
    for of_x, of_w in (
        (P("b"), P()), (P(None, None, "b"), P()), (P(), P()),
        (P("b"), P(None, None, None, "b")), (P(None, None, None, "b"), P()),
    ):
        for (op, (ours, theirs, weights)), (name, form) in itertools.product(operations.items(), forms.items()):
            x, w = jax.device_put(X, of_x), jax.device_put(weights, of_w)
            for wrap in (jax.jit, lambda f: f):
                a, b = result(wrap(form(ours)), x, w), result(wrap(form(theirs)), x, w)
                if isinstance(b, str):
                    assert a == b or not isinstance(a, str), (op, name, of_x, of_w, a, b)
                    continue
                assert not isinstance(a, str), (op, name, of_x, of_w, a)
                for (spec, value), (other_spec, other) in zip(a, b, strict=True):
                    assert spec == other_spec, (op, name, of_x, of_w, spec, other_spec)
                    np.testing.assert_allclose(value, other, rtol=1e-4, atol=1e-5 * float(np.max(np.abs(other))))
                done += 1
# Within shard_map, the gradient by weights that are the same everywhere is summed over the devices.
mesh = jax.make_mesh((2,), ("b",), axis_types=(AxisType.Auto,))
for ours, theirs, weights in operations.values():
    of = lambda f: jax.grad(lambda x, w: lax.psum(jnp.sum(jnp.tanh(f(x, w))), "b"), (0, 1))
    mapped = [jax.shard_map(of(f), mesh=mesh, in_specs=(P("b"), P()), out_specs=(P("b"), P())) for f in (ours, theirs)]
    for value, other in zip(*(jax.jit(f)(X, weights) for f in mapped), strict=True):
        np.testing.assert_allclose(value, other, rtol=1e-4, atol=1e-5 * float(np.max(np.abs(other))))
print(done, "equal")
"""


def test_explicit_axes_and_shard_map_on_several_devices():
    devices = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", EXPLICIT], env=devices, capture_output=True, text=True, check=False)
    count, word = done.stdout.split() if done.stdout else (0, done.stderr[-2000:])
    assert word == "equal", word
    assert int(count) >= 80


def test_lenet5_in_the_modes_that_inspect_a_program():
    net = cnnjax.models.lenet5()
    params = net.init(jax.random.key(0))
    images = jnp.asarray(RANDOM.normal(size=(2, 32, 32, 1)), jnp.float32)
    step = jax.jit(jax.grad(lambda params, x: jnp.sum(net.apply(params, x) ** 2)))
    expected = step(params, images)
    abstract = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), params)
    batch = jax.ShapeDtypeStruct((*export.symbolic_shape("b"), 32, 32, 1), jnp.float32)
    assert_close(export.export(step)(abstract, batch).call(params, images), expected)
    with jax.disable_jit():
        assert_close(step(params, images), expected)
    error, found = checkify.checkify(step, errors=checkify.float_checks)(params, images)
    error.throw()
    assert_close(found, expected)
    assert step.lower(params, images).cost_analysis()["flops"] > 0


# --- the page of the documentation

PAGE = REPOSITORY / "docs" / "guides" / "transformations.md"


def test_every_mode_is_on_the_page():
    missing = [mode for mode in MODES if f"[{mode}]" not in PAGE.read_text()]
    assert not missing


def test_the_page_names_only_tests_that_exist():
    existing = set()
    for path in (REPOSITORY / "tests").rglob("test_*.py"):
        existing |= set(re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE))
    named = re.findall(r"`(test_\w+)(?:\[([^\]]*)\])?`", PAGE.read_text())
    assert named
    for test, parameter in named:
        assert test in existing, test
        assert not parameter or parameter in MODES, parameter


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.deepcopy])
def test_a_jaxpr_cannot_be_pickled_or_copied_just_as_those_of_jax(duplicate):
    (ours, theirs), x, w = operands("conv2d")
    for f in (ours, theirs):
        with pytest.raises((TypeError, AttributeError), match="pickle"):
            duplicate(jax.make_jaxpr(f)(x, w).jaxpr)
