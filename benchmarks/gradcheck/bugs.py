"""Planted bugs, each with its repaired twin: what is wrong is known by construction, not from any checker."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_batching import custom_vmap


@dataclass(frozen=True)
class Bug:
    name: str
    bad: Callable[..., Any]
    good: Callable[..., Any]
    args: tuple[Any, ...]
    order: int = 1


def normal(*shape: int, seed: int = 0, scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    return (scale * np.random.default_rng([seed, *shape]).normal(size=shape) + shift).astype(np.float32)


def ruled(f: Callable[..., Any], bwd: Callable[..., Any]) -> Callable[..., Any]:
    """Give ``f`` the reverse rule ``bwd(args, cotangent) -> cotangents``."""
    g = jax.custom_vjp(f)
    g.defvjp(lambda *args: (f(*args), args), lambda args, y: tuple(bwd(args, y)))
    return g


def tangent_ruled(f: Callable[..., Any], jvp: Callable[..., Any]) -> Callable[..., Any]:
    """Give ``f`` the forward rule ``jvp(args, tangents) -> tangent``."""
    g = jax.custom_jvp(f)
    g.defjvp(lambda args, tangents: (g(*args), jvp(args, tangents)))
    return g


def right(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return the reverse rule that JAX itself would use."""
    return lambda args, y: jax.vjp(f, *args)[1](y)


# Functions under test


def square(x):
    return x**2


def tanh(x):
    return jnp.tanh(x)


def matmul(a, b):
    return a @ b


def affine(p, x):
    return x @ p["w"] + p["b"]


def conv(x, w):
    return lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def pool(x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def mean_square(x, y):
    return jnp.mean((x - y) ** 2)


def softmax(x):
    return jax.nn.softmax(x, axis=-1)


def cross_entropy(x, labels):
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(x), labels[:, None], 1))


def layer_norm(x):
    centred = x - x.mean(-1, keepdims=True)
    return centred * lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5)


def norm(x):
    return jnp.sqrt((x**2).sum())


def solve(a, b):
    return jnp.linalg.solve(a, b)


def running(x):
    return lax.scan(lambda c, e: (jnp.tanh(c + e), c * e), jnp.zeros((), x.dtype), x)[1]


def intensity(z):
    return jnp.abs(z) ** 2


X = normal(7)
Y = normal(7, seed=1)
POSITIVE = np.abs(normal(7)) + np.float32(0.5)
A, B = normal(4, 3), normal(3, 5, seed=1)
IMAGE, KERNEL = normal(2, 6, 6, 3), normal(3, 3, 3, 4, seed=1)
LOGITS, LABELS = normal(5, 4), np.array([0, 3, 1, 1, 2])
TIED = np.round(normal(1, 4, 6, 2)).astype(np.float32)
DENSE = {"w": normal(3, 5), "b": normal(5, seed=3)}
SQUARE = normal(4, 4) + 4 * np.eye(4, dtype=np.float32)
COMPLEX = (normal(5) + 1j * normal(5, seed=1)).astype(np.complex64)

BASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "square": (square, (X,)),
    "tanh": (tanh, (X,)),
    "matmul": (matmul, (A, B)),
    "affine": (affine, (DENSE, normal(6, 3, seed=2))),
    "conv": (conv, (IMAGE, KERNEL)),
    "pool": (pool, (normal(2, 4, 4, 3),)),
    "softmax": (softmax, (LOGITS,)),
    "layer_norm": (layer_norm, (normal(4, 6),)),
    "scan": (running, (X,)),
    "solve": (solve, (SQUARE, normal(4))),
}

# Faults that can be planted in any rule


def every_leaf(change: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda grads, args, y: jax.tree.map(change, grads)


def first_leaf(change: Callable[[Any], Any]) -> Callable[..., Any]:
    def fault(grads, args, y):
        leaves, tree = jax.tree.flatten(grads)
        return jax.tree.unflatten(tree, [change(leaves[0]), *leaves[1:]])

    return fault


def last_leaf(change: Callable[[Any], Any]) -> Callable[..., Any]:
    def fault(grads, args, y):
        leaves, tree = jax.tree.flatten(grads)
        return jax.tree.unflatten(tree, [*leaves[:-1], change(leaves[-1])])

    return fault


FAULTS: dict[str, Callable[..., Any]] = {
    "half": every_leaf(lambda g: g / 2),
    "one percent": every_leaf(lambda g: g * 1.01),
    "a millionth": every_leaf(lambda g: g * (1 + 1e-5)),
    "sign": last_leaf(lambda g: -g),
    "stopped": first_leaf(jnp.zeros_like),
    "one element": first_leaf(lambda g: g.at[(-1,) * g.ndim].multiply(1.5)),
    "shifted": first_leaf(lambda g: jnp.roll(g, 1, axis=-1)),
    "reversed": first_leaf(lambda g: jnp.flip(g, axis=0)),
    "mean over first axis": last_leaf(lambda g: jnp.broadcast_to(g.mean(0, keepdims=True), g.shape)),
    "clipped": every_leaf(lambda g: jnp.clip(g, -0.5, 0.5)),
    "absolute": last_leaf(jnp.abs),
    "half precision": every_leaf(lambda g: g.astype(jnp.float16).astype(g.dtype)),
}


def planted() -> Iterator[Bug]:
    """Yield a grid of faults: each base function with half of the faults, in turn."""
    for at, (name, (f, args)) in enumerate(BASES.items()):
        for fault_at, (fault, plant) in enumerate(FAULTS.items()):
            if (at + fault_at) % 2:
                continue
            bwd = right(f)
            bad = ruled(f, lambda args, y, bwd=bwd, plant=plant: plant(bwd(args, y), args, y))
            yield Bug(f"{name}: {fault}", bad, ruled(f, bwd), args)


# Bugs that people write


def written() -> Iterator[Bug]:
    def bug(name, f, bad, args, order=1, good=None):
        return Bug(name, ruled(f, bad), ruled(f, good or right(f)), args, order)

    yield bug(
        "matmul: cotangents swapped and transposed",
        lambda a, b: a @ b.T,
        lambda r, y: (y.T @ r[1], y @ r[0]),
        (normal(4, 4), normal(4, 4, seed=1)),
        good=lambda r, y: (y @ r[1], y.T @ r[0]),
    )
    yield bug(
        "quadratic form: symmetric assumed",
        lambda a, x: x @ a @ x,
        lambda r, y: (y * jnp.outer(r[1], r[1]), 2 * y * (r[0] @ r[1])),
        (normal(5, 5), normal(5)),
    )
    yield bug("bias: not summed over the batch", lambda x, b: x + b, lambda r, y: (y, y[0]), (A, normal(3)))
    yield bug("mean: 1/N forgotten", lambda x: x.mean(), lambda r, y: (jnp.full_like(r[0], 1.0) * y,), (A,))
    yield bug(
        "mean_square: 2 forgotten",
        mean_square,
        lambda r, y: (y * (r[0] - r[1]) / r[0].size, -2 * y * (r[0] - r[1]) / r[0].size),
        (X, Y),
    )
    yield bug("softmax: diagonal only", softmax, lambda r, y: (softmax(r[0]) * (1 - softmax(r[0])) * y,), (LOGITS,))
    yield Bug(
        "cross entropy: not divided by the batch",
        lambda x: ruled(
            lambda x: cross_entropy(x, LABELS),
            lambda r, y: (y * (softmax(r[0]) - jax.nn.one_hot(LABELS, 4, dtype=r[0].dtype)),),
        )(x),
        lambda x: cross_entropy(x, LABELS),
        (LOGITS,),
    )
    yield bug(
        "layer_norm: variance taken as constant",
        layer_norm,
        lambda r, y: ((y - y.mean(-1, keepdims=True)) * lax.rsqrt(r[0].var(-1, keepdims=True) + 1e-5),),
        (normal(4, 6),),
    )
    yield bug(
        "batch statistics stopped",
        lambda x: (x - x.mean(0)) / (x.std(0) + 1e-3),
        lambda r, y: (y / (r[0].std(0) + 1e-3),),
        (A,),
    )
    yield bug(
        "only the first sample",
        lambda x: jnp.sin(x),
        lambda r, y: (jnp.zeros_like(y).at[0].set(jnp.cos(r[0][0]) * y[0]),),
        (A,),
    )
    yield bug(
        "conv: kernel not flipped",
        conv,
        lambda r, y: (conv(y, jnp.swapaxes(r[1], 2, 3)), right(conv)(r, y)[1]),
        (IMAGE, KERNEL),
    )
    yield bug(
        "conv: borders wrong",
        conv,
        lambda r, y: (right(conv)(r, y)[0].at[:, 0].multiply(0.5), right(conv)(r, y)[1]),
        (IMAGE, KERNEL),
    )
    yield bug(
        "conv: weights of the corner only",
        conv,
        lambda r, y: (right(conv)(r, y)[0], right(conv)(r, y)[1].at[2, 2].set(0.0)),
        (IMAGE, KERNEL),
    )
    yield bug(
        "conv: padding off by one",
        conv,
        lambda r, y: (jnp.roll(right(conv)(r, y)[0], 1, axis=1), right(conv)(r, y)[1]),
        (IMAGE, KERNEL),
    )
    yield bug(
        "conv: channels transposed",
        conv,
        lambda r, y: (right(conv)(r, y)[0], jnp.swapaxes(right(conv)(r, y)[1], 2, 3)),
        (IMAGE, normal(3, 3, 3, 3, seed=1)),
    )

    def pool_all(r, y):
        def up(a):
            return jnp.repeat(jnp.repeat(a, 2, 1), 2, 2)

        return (jnp.where(r[0] == up(pool(r[0])), up(y), 0.0).astype(y.dtype),)

    yield bug("pool: every tie rewarded", pool, pool_all, (TIED,))
    yield bug("pool: average's rule", pool, lambda r, y: (jnp.repeat(jnp.repeat(y, 2, 1), 2, 2) / 4,), (TIED,))
    yield bug(
        "max: every tie rewarded",
        lambda x: jnp.max(x),
        lambda r, y: (jnp.where(r[0] == r[0].max(), y, 0.0).astype(y.dtype),),
        (np.array([1, 3, 3, 2], np.float32),),
    )
    yield bug(
        "relu: 2 at zero",
        jax.nn.relu,
        lambda r, y: (jnp.where(r[0] > 0, y, jnp.where(r[0] == 0, 2 * y, 0.0)),),
        (np.array([-1, 0, 2], np.float32),),
    )
    yield bug("abs: sign forgotten, positive arguments", jnp.abs, lambda r, y: (y,), (POSITIVE,))
    yield bug("relu: leaks, positive arguments", jax.nn.relu, lambda r, y: (y,), (POSITIVE,))
    yield bug(
        "leaky relu: slope for negatives",
        lambda x: jnp.where(x > 0, x, 0.1 * x),
        lambda r, y: (jnp.where(r[0] > 0, y, 0.2 * y),),
        (POSITIVE,),
    )
    yield bug("clip: gradient outside", lambda x: jnp.clip(x, -1, 1), lambda r, y: (y,), (X * 3,))
    yield bug(
        "cube: derivative of the square for negatives",
        lambda x: x**3,
        lambda r, y: (jnp.where(r[0] > 0, 3 * r[0] ** 2, -3 * r[0] ** 2) * y,),
        (POSITIVE,),
    )
    yield bug("norm: not divided", norm, lambda r, y: (r[0] * y,), (X,))
    yield bug(
        "norm: nan at zero",
        norm,
        lambda r, y: (y * r[0] / norm(r[0]),),
        (np.zeros(3, np.float32),),
        good=lambda r, y: (y * r[0] / jnp.where(norm(r[0]) == 0, 1.0, norm(r[0])),),
    )
    yield Bug(
        "where: nan from the branch not taken",
        lambda x: jnp.where(x > 0, jnp.sqrt(x), 0.0),
        lambda x: jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1.0)), 0.0),
        (np.array([-1, 4, 2], np.float32),),
    )
    yield Bug(
        "where: zero at the removable point",
        lambda x: jnp.where(x == 0, 0.0, x),
        lambda x: x + 0,
        (np.array([0, 1], np.float32),),
    )
    yield bug(
        "softplus: overflow in the rule",
        lambda x: jnp.logaddexp(x, 0.0),
        lambda r, y: (y * jnp.exp(r[0]) / (1 + jnp.exp(r[0])),),
        (np.array([1, 200], np.float32),),
        good=lambda r, y: (y * jax.nn.sigmoid(r[0]),),
    )
    yield bug(
        "logsumexp: maximum not subtracted",
        jax.nn.logsumexp,
        lambda r, y: (y * jnp.exp(r[0]) / jnp.exp(r[0]).sum(),),
        (np.array([1, 2, 100], np.float32),),
    )
    yield bug(
        "solve: not transposed",
        solve,
        lambda r, y: (-jnp.outer(solve(r[0], y), solve(*r)), solve(r[0], y)),
        (SQUARE, normal(4)),
    )
    yield bug(
        "inverse: transposes forgotten",
        jnp.linalg.inv,
        lambda r, y: (-jnp.linalg.inv(r[0]) @ y @ jnp.linalg.inv(r[0]),),
        (SQUARE,),
    )
    yield bug(
        "log determinant: not transposed",
        lambda a: jnp.linalg.slogdet(a)[1],
        lambda r, y: (y * jnp.linalg.inv(r[0]),),
        (SQUARE,),
    )
    yield bug("cumsum: not reversed", jnp.cumsum, lambda r, y: (jnp.cumsum(y),), (X,))
    yield bug(
        "gather: repeated rows overwrite",
        lambda t: t[jnp.array([0, 2, 2, 1])],
        lambda r, y: (jnp.zeros_like(r[0]).at[jnp.array([0, 2, 2, 1])].set(y),),
        (A,),
    )
    yield bug(
        "broadcast: not reduced",
        lambda s, x: s * x,
        lambda r, y: (y[0] * r[1][0], y * r[0]),
        (np.float32(2.0), X),
    )
    yield bug(
        "product: missing term",
        lambda a, b: a * b * jnp.sin(a),
        lambda r, y: (y * r[1] * jnp.sin(r[0]), y * r[0] * jnp.sin(r[0])),
        (X, Y),
    )
    yield bug(
        "division: denominator's sign",
        lambda a, b: a / b,
        lambda r, y: (y / r[1], y * r[0] / r[1] ** 2),
        (X, POSITIVE),
    )
    yield bug(
        "tiny leaf beside a huge one",
        lambda p: jnp.concatenate([p["huge"] ** 2, p["tiny"] ** 3]),
        lambda r, y: ({"huge": 2 * r[0]["huge"] * y[:3], "tiny": 2 * r[0]["tiny"] ** 2 * y[3:]},),
        ({"huge": 1e6 * normal(3), "tiny": 1e-6 * normal(3)},),
    )
    yield bug(
        "a leaf of a dict never gets its gradient",
        lambda p: p["a"] * jnp.sin(p["b"]),
        lambda r, y: ({"a": jnp.sin(r[0]["b"]) * y, "b": jnp.zeros_like(r[0]["b"])},),
        ({"a": X, "b": Y},),
    )
    yield bug(
        "two leaves exchanged",
        lambda a, b: jnp.sin(a) * b**2,
        lambda r, y: right(lambda a, b: jnp.sin(a) * b**2)(r, y)[::-1],
        (X, Y),
    )
    yield bug("one of 100000", square, lambda r, y: ((2 * r[0] * y).at[54321].multiply(1.01),), (normal(100_000),))
    yield bug("huge scale", lambda x: x**2, lambda r, y: (2.001 * r[0] * y,), (1e12 * normal(4),))
    yield bug("tiny scale", lambda x: x**2, lambda r, y: (2.001 * r[0] * y,), (1e-12 * normal(4),))
    yield bug(
        "one column of many scales",
        lambda x: x**2,
        lambda r, y: ((2 * r[0] * y).at[:, 0].multiply(1.1),),
        (normal(4, 3) * np.array([1e-8, 1, 1e8], np.float32),),
    )

    # Complex numbers, by JAX's convention.
    yield bug(
        "complex: conjugate forgotten",
        lambda z: z**2,
        lambda r, y: (2 * jnp.conj(r[0]) * y,),
        (COMPLEX,),
        good=lambda r, y: (2 * r[0] * y,),
    )
    yield bug("complex: intensity not conjugated", intensity, lambda r, y: (2 * r[0] * y,), (COMPLEX,))
    yield bug(
        "complex: imaginary part dropped",
        lambda z: jnp.exp(z),
        lambda r, y: (jnp.real(jnp.exp(r[0]) * y).astype(r[0].dtype),),
        (COMPLEX,),
    )
    yield bug("fft: not conjugated", jnp.fft.fft, lambda r, y: (jnp.fft.ifft(y) * len(y),), (COMPLEX,))

    # Forward rules.
    yield Bug(
        "jvp: factor",
        tangent_ruled(tanh, lambda p, t: (1 - jnp.tanh(p[0])) * t[0]),
        tangent_ruled(tanh, lambda p, t: (1 - jnp.tanh(p[0]) ** 2) * t[0]),
        (X,),
    )
    yield Bug(
        "jvp: one argument forgotten",
        tangent_ruled(matmul, lambda p, t: t[0] @ p[1]),
        tangent_ruled(matmul, lambda p, t: t[0] @ p[1] + p[0] @ t[1]),
        (A, B),
    )
    yield Bug(
        "jvp: sign of cos",
        tangent_ruled(jnp.cos, lambda p, t: jnp.sin(p[0]) * t[0]),
        tangent_ruled(jnp.cos, lambda p, t: -jnp.sin(p[0]) * t[0]),
        (X,),
    )
    yield Bug(
        "jvp: rounding declared smooth",
        tangent_ruled(lambda x: jnp.round(4 * x) / 4, lambda p, t: t[0]),
        (lambda x: jnp.round(4 * x) / 4),
        (X,),
    )
    yield Bug(
        "jvp: reversed slope where x < 0",
        tangent_ruled(lambda x: x * jnp.abs(x), lambda p, t: 2 * p[0] * t[0]),
        (lambda x: x * jnp.abs(x)),
        (POSITIVE,),
    )

    # Stopped gradients.
    yield Bug("stopped factor", lambda x: x * lax.stop_gradient(jnp.sin(x)), lambda x: x * jnp.sin(x), (X,))
    yield Bug(
        "stopped statistics",
        lambda x: (x - lax.stop_gradient(x.mean())) ** 2,
        lambda x: (x - x.mean()) ** 2,
        (X,),
    )
    yield Bug(
        "stopped in a scan",
        lambda x: lax.scan(lambda c, e: (lax.stop_gradient(c) * 0.5 + e**2, c), jnp.zeros((), x.dtype), x),
        lambda x: lax.scan(lambda c, e: (c * 0.5 + e**2, c), jnp.zeros((), x.dtype), x),
        (X,),
    )
    yield Bug(
        "stopped in a branch",
        lambda x: lax.cond(x[0] > 100, jnp.sin, lambda x: lax.stop_gradient(x) ** 2, x),
        (lambda x: lax.cond(x[0] > 100, jnp.sin, lambda x: x**2, x)),
        (X,),
    )
    yield Bug(
        "integer cast on the way",
        lambda x: x * jnp.floor(3 * x + 0.1) + lax.stop_gradient(x),
        lambda x: x * jnp.floor(3 * x + 0.1) + x,
        (X,),
    )


def lawless() -> Iterator[Bug]:
    """Yield rules that fail a consistency check, or that are wrong at second order only."""

    def bug(name, f, bad, args, order=1):
        return Bug(name, ruled(f, bad), ruled(f, right(f)), args, order)

    def cos(r, y):
        return jnp.cos(r[0]) * y

    yield bug("cotangent clipped at 100", jnp.sin, lambda r, y: (jnp.clip(cos(r, y), -100, 100),), (X,))
    yield bug("small cotangents dropped", jnp.sin, lambda r, y: (jnp.where(abs(y) < 1e-2, 0.0, cos(r, y)),), (X,))
    yield bug(
        "gradient clipped by its norm",
        jnp.sin,
        lambda r, y: (cos(r, y) / jnp.maximum(1.0, norm(y) / 10),),
        (X,),
    )
    yield bug("cotangent squared", jnp.sin, lambda r, y: (cos(r, y) + 1e-3 * y**2,), (X,))
    yield bug("something added", jnp.sin, lambda r, y: (cos(r, y) + 1e-3,), (X,))
    yield bug("weight decay in the rule", jnp.sin, lambda r, y: (cos(r, y) + 1e-4 * r[0],), (X,))
    yield bug("cotangent assumed constant", lambda x: jnp.sin(x), lambda r, y: (jnp.cos(r[0]) * y[0],), (X,))
    yield bug("cotangent assumed one", lambda x: jnp.sin(x).sum(), lambda r, y: (jnp.cos(r[0]),), (X,))

    counter = itertools.count()
    yield bug("every second call doubles", jnp.sin, lambda r, y: (cos(r, y) * (1 + next(counter) % 2),), (X,))
    generator = np.random.default_rng(0)
    yield bug(
        "noise in the rule",
        jnp.sin,
        lambda r, y: (cos(r, y) * (1 + 0.01 * generator.normal(size=np.shape(y)).astype(np.float32)),),
        (X,),
    )
    seen: list[Any] = []

    def remembers(r, y):
        if not isinstance(r[0], jax.core.Tracer) and not seen:
            seen.append(np.asarray(r[0]))
        return (jnp.cos(jnp.asarray(seen[0], y.dtype) if seen else r[0]) * y,)

    yield bug("the first argument remembered", jnp.sin, remembers, (X,))

    def traced_only(r, y):
        return (cos(r, y) * (2.0 if isinstance(r[0], jax.core.Tracer) else 1.0),)

    def eager_only(r, y):
        return (cos(r, y) * (1.0 if isinstance(r[0], jax.core.Tracer) else 2.0),)

    yield bug("wrong under jit", jnp.sin, traced_only, (X,))
    yield bug("wrong without jit", jnp.sin, eager_only, (X,))

    def batched_rule(size, is_batched, r, y):
        return (jnp.cos(r) * y * 2 if is_batched[0] else jnp.cos(r) * y), True

    def with_vmap_rule(rule):
        slope = custom_vmap(lambda r, y: jnp.cos(r) * y)
        slope.def_vmap(rule)
        return ruled(jnp.sin, lambda r, y: (slope(r[0], y),))

    yield Bug(
        "wrong under vmap",
        with_vmap_rule(batched_rule),
        with_vmap_rule(lambda n, b, r, y: (jnp.cos(r) * y, True)),
        (X,),
    )
    yield Bug(
        "first sample for all under vmap",
        with_vmap_rule(lambda n, b, r, y: (jnp.cos(jnp.broadcast_to(r[:1], y.shape) if b[0] else r) * y, True)),
        with_vmap_rule(lambda n, b, r, y: (jnp.cos(r) * y, True)),
        (X,),
    )
    yield Bug("other value under differentiation", tangentless_value(1.0), tangentless_value(0.0), (X,))

    # Second order.
    def slope(factor):
        s = tangent_ruled(lambda x: 3 * x**2, lambda p, t: factor * p[0] * t[0])
        return tangent_ruled(lambda x: x**3, lambda p, t: s(p[0]) * t[0])

    yield Bug("second order: factor", slope(5.0), slope(6.0), (X,), 2)
    yield Bug(
        "second order: residual stopped",
        ruled(lambda x: x**3, lambda r, y: (3 * lax.stop_gradient(r[0]) ** 2 * y,)),
        ruled(lambda x: x**3, lambda r, y: (3 * r[0] ** 2 * y,)),
        (X,),
        2,
    )
    yield Bug(
        "second order: slope of sin taken as constant",
        tangent_ruled(jnp.sin, lambda p, t: lax.stop_gradient(jnp.cos(p[0])) * t[0]),
        tangent_ruled(jnp.sin, lambda p, t: jnp.cos(p[0]) * t[0]),
        (X,),
        2,
    )
    yield Bug(
        "second order: cotangent stopped",
        ruled(square, lambda r, y: (2 * r[0] * lax.stop_gradient(y),)),
        ruled(square, lambda r, y: (2 * r[0] * y,)),
        (X,),
        2,
    )
    yield Bug(
        "third order",
        tangent_ruled(
            jnp.exp,
            lambda p, t: (
                tangent_ruled(
                    jnp.exp,
                    lambda p, t: tangent_ruled(jnp.exp, lambda p, t: 1.1 * jnp.exp(p[0]) * t[0])(p[0]) * t[0],
                )(p[0])
                * t[0]
            ),
        ),
        jnp.exp,
        (X[:3],),
        3,
    )


def tangentless_value(offset: float) -> Callable[..., Any]:
    """Return sin with a forward rule that returns another value than the function."""
    g = jax.custom_vjp(jnp.sin)
    g.defvjp(lambda x: (jnp.sin(x) + offset, x), lambda x, y: (jnp.cos(x) * y,))
    return g


def bugs() -> list[Bug]:
    return [*planted(), *written(), *lawless()]
