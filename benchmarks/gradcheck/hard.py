"""Correct functions that are hard to verify: their derivatives follow from mathematics or a convention."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from bugs import COMPLEX, IMAGE, KERNEL, SQUARE, X, conv, normal, ruled
from jax import lax


@dataclass(frozen=True)
class Hard:
    name: str
    f: Callable[..., Any]
    args: tuple[Any, ...]
    order: int = 1


def f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def f64(*values: float) -> np.ndarray:
    return np.array(values, np.float64)


HILBERT = (1 / (np.arange(6)[:, None] + np.arange(6) + 1.0)).astype(np.float32)
SYMMETRIC = (SQUARE + SQUARE.T) / 2
POSITIVE_DEFINITE = (SQUARE @ SQUARE.T).astype(np.float32)
MIXED = f32(1e-12, 1e-6, 1.0, 1e6, 1e12)


def edges() -> Iterator[Hard]:
    yield Hard("log next to zero", jnp.log, (f32(1e-30, 1e-12, 1e-3),))
    yield Hard("sqrt next to zero", jnp.sqrt, (f32(1e-30, 1e-12, 1e-3),))
    yield Hard("power 1.5 next to zero", lambda x: x**1.5, (f32(1e-12, 1e-3, 2.0),))
    yield Hard("power 1.5 at zero", lambda x: x**1.5, (f32(0.0, 1.0),))
    yield Hard("arcsin next to one", jnp.arcsin, (f32(1 - 6e-8, -1 + 6e-8, 0.5),))
    yield Hard("arccosh next to one", jnp.arccosh, (f32(1 + 1.2e-7, 1.5),))
    yield Hard("atanh next to one", jnp.arctanh, (f32(1 - 6e-8, -0.999),))
    yield Hard("log1p next to minus one", jnp.log1p, (f32(-1 + 6e-8, 0.0),))
    yield Hard("reciprocal next to zero", lambda x: 1 / x, (f32(1e-10, -1e-10, 3.0),))
    yield Hard("entropy with a tiny probability", lambda p: -(p * jnp.log(p)).sum(), (f32(1e-20, 0.3, 0.7),))
    yield Hard("xlogy at zero", lambda x: jax.scipy.special.xlogy(x, x + 1), (f32(0.0, 1.0),))
    yield Hard("tan next to its pole", jnp.tan, (f32(1.5707, -1.5707),))
    yield Hard(
        "safe norm at zero",
        lambda x: jnp.sqrt(jnp.where((s := (x**2).sum()) > 0, s, 1.0)) * (s > 0),
        (np.zeros(3, np.float32),),
    )
    yield Hard(
        "where with a safe branch",
        lambda x: jnp.where(x > 0, jnp.log(jnp.where(x > 0, x, 1.0)), 0.0),
        (f32(-1.0, 0.5, 2.0),),
    )


def scales() -> Iterator[Hard]:
    yield Hard("magnitudes from 1e-12 to 1e12 in one leaf", lambda x: x**2, (MIXED,))
    yield Hard("log of many magnitudes", lambda x: jnp.log(x).sum(), (MIXED,))
    yield Hard(
        "huge and tiny leaves",
        lambda a, b: (a**2).sum() * 1e-12 + (jnp.sin(1e12 * b)).sum(),
        (1e12 * X, 1e-12 * X),
    )
    yield Hard("large output offset", lambda x: x**2 + 1e7, (X,))
    yield Hard("large inner offset", lambda x: (x**2 + 1e5) - 1e5, (X,))
    yield Hard("large offset in float64", lambda x: (jnp.sin(x) + 1e12) - 1e12, (X,))
    yield Hard("output of 1e30", lambda x: jnp.exp(x) * 1e30, (X,))
    yield Hard("output of 1e-30", lambda x: jnp.tanh(x) * 1e-30, (X,))
    yield Hard("vanishing derivative", lambda x: jnp.tanh(20 * x), (f32(0.9, -1.0, 0.01),))
    yield Hard("zero everywhere", lambda x: 0 * x, (X,))
    yield Hard("constant function", lambda x: jnp.ones(3), (X,))
    yield Hard("all zeros", lambda x: jnp.sin(1e6 * x), (np.zeros(3, np.float32),))
    yield Hard("steep sigmoid", lambda x: jax.nn.sigmoid(1e4 * x), (f32(1e-4, -2e-4, 0.1),))
    yield Hard("exponent 50", lambda x: x**50, (f32(0.5, 1.1, 2.0),))
    yield Hard("even function at its minimum", lambda x: (x**4).sum(), (np.zeros(3, np.float32),))


def oscillations() -> Iterator[Hard]:
    yield Hard("sin of 1e3 x", lambda x: jnp.sin(1e3 * x), (X,))
    yield Hard("sin of 1e6 x", lambda x: jnp.sin(1e6 * x), (X,))
    yield Hard("sin of 1/x", lambda x: jnp.sin(1 / x), (f32(1e-3, 0.02, 0.5),))
    yield Hard("chirp", lambda x: jnp.sin(jnp.exp(x)), (f32(5.0, 8.0, 1.0),))
    yield Hard("rough on a small scale", lambda x: x**2 + 1e-6 * jnp.sin(1e5 * x), (X,))
    yield Hard(
        "logistic map, 20 steps",
        lambda x: lax.fori_loop(0, 20, lambda i, c: 3.9 * c * (1 - c), x),
        (f32(0.3, 0.6),),
    )
    yield Hard("deep tanh chain", lambda x: lax.fori_loop(0, 50, lambda i, c: jnp.tanh(1.5 * c + 0.1), x), (X,))
    yield Hard("deep exploding chain", lambda x: lax.fori_loop(0, 30, lambda i, c: 2 * jnp.sin(c) + c, x), (X,))


def kinks() -> Iterator[Hard]:
    yield Hard("relu at zero", jax.nn.relu, (f32(0, -1, 2, 0),))
    yield Hard("maximum with zero at zero", lambda x: jnp.maximum(x, 0), (f32(0, -1, 2, 0),))
    yield Hard("abs at zero", jnp.abs, (f32(0, -1, 2),))
    yield Hard("clip at its edges", lambda x: jnp.clip(x, -1, 1), (f32(-1, 1, 0, 3),))
    yield Hard("relu6 at both kinks", jax.nn.relu6, (f32(0, 6, 3),))
    yield Hard("max of equal numbers", jnp.max, (f32(1, 3, 3, 3),))
    yield Hard("maximum of the same number", lambda x: jnp.maximum(x, x), (X,))
    yield Hard(
        "pool with ties",
        lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"),
        (np.round(normal(1, 6, 6, 2)).astype(np.float32),),
    )
    yield Hard(
        "pool of zeros",
        lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"),
        (np.zeros((1, 6, 6, 2), np.float32),),
    )
    yield Hard("sort of ties", lambda x: jnp.sort(x) * jnp.arange(4, dtype=x.dtype), (f32(2, 1, 2, 1),))
    yield Hard("median", jnp.median, (f32(3, 1, 2, 5),))
    yield Hard("hinge at its margin", lambda x: jnp.maximum(0, 1 - x).sum(), (f32(1, 0, 2),))
    yield Hard("huber at its edge", lambda x: jnp.where(abs(x) < 1, 0.5 * x**2, abs(x) - 0.5), (f32(1, -1, 0.2),))
    yield Hard("relu network, kinks nearby", lambda x, w: jax.nn.relu(jax.nn.relu(conv(x, w))).sum(), (IMAGE, KERNEL))
    yield Hard(
        "relu network of zeros",
        lambda x, w: jax.nn.relu(x @ w) @ jnp.ones(5, x.dtype),
        (np.zeros((4, 3), np.float32), normal(3, 5)),
    )
    yield Hard("relu just off its kink", jax.nn.relu, (f32(1e-9, -1e-9, 1e-20),))
    yield Hard("l1 norm of weights with zeros", lambda x: jnp.abs(x).sum(), (f32(0, 0, 0, 1, -2),))
    yield Hard("floor and fraction", lambda x: x - jnp.floor(x), (f32(0.5, 1.25, -0.3),))
    yield Hard("rounding", jnp.round, (f32(0.4, 1.3, -0.2),))


def algebra() -> Iterator[Hard]:
    yield Hard("Hilbert matrix, solve", lambda a, b: jnp.linalg.solve(a, b), (HILBERT, normal(6)))
    yield Hard("Hilbert matrix, log determinant", lambda a: jnp.linalg.slogdet(a)[1], (HILBERT,))
    yield Hard("Hilbert matrix in float64", lambda a: jnp.linalg.inv(a), (HILBERT.astype(np.float64),))
    yield Hard("eigenvalues", lambda a: jnp.linalg.eigvalsh(a), (SYMMETRIC,))
    yield Hard("close eigenvalues", lambda a: jnp.linalg.eigvalsh(a), (np.diag(f32(1, 1.001, 2)),))
    yield Hard("eigenvectors, up to sign", lambda a: jnp.linalg.eigh(a)[1] ** 2, (SYMMETRIC,))
    yield Hard("singular values", lambda a: jnp.linalg.svd(a, compute_uv=False), (normal(4, 3),))
    yield Hard("cholesky", jnp.linalg.cholesky, (POSITIVE_DEFINITE,))
    yield Hard("qr", lambda a: jnp.linalg.qr(a)[1] ** 2, (normal(4, 3),))
    yield Hard("determinant", jnp.linalg.det, (SQUARE,))
    yield Hard("matrix exponential", lambda a: jax.scipy.linalg.expm(a), (normal(3, 3),))
    yield Hard(
        "conjugate gradients",
        lambda a, b: jax.scipy.sparse.linalg.cg(lambda v: a @ v, b, tol=1e-12)[0],
        (POSITIVE_DEFINITE, normal(4)),
    )
    yield Hard("logsumexp of large numbers", jax.nn.logsumexp, (f32(1e4, 1e4 + 1, -1e4),))
    yield Hard("softmax of large numbers", jax.nn.softmax, (f32(500, 499, -500),))
    yield Hard("log softmax of far numbers", jax.nn.log_softmax, (f32(80, 0, -80),))
    yield Hard("variance about a large mean", jnp.var, (1e3 + X,))
    yield Hard(
        "layer normalisation of nearly equal numbers",
        lambda x: (x - x.mean()) / jnp.sqrt(x.var() + 1e-6),
        (1 + 1e-3 * X,),
    )
    yield Hard(
        "gammaln, digamma",
        lambda x: jax.scipy.special.gammaln(x) + jax.scipy.special.digamma(x),
        (f32(0.1, 3, 20),),
    )
    yield Hard("erf_inv near one", jax.scipy.special.erfinv, (f32(0.999, -0.5),))
    yield Hard("bessel", lambda x: jax.scipy.special.i0e(x), (f32(0.3, 5, 40),))
    yield Hard("product with a zero", jnp.prod, (f32(0, 2, 3),))
    yield Hard("cumulative product with zeros", jnp.cumprod, (f32(1, 0, 3, 0),))


def programs() -> Iterator[Hard]:
    def newton(a):
        root = jax.custom_jvp(
            lambda a: lax.while_loop(lambda s: abs(s[0] ** 2 - a) > 1e-6 * a, lambda s: ((s[0] + a / s[0]) / 2,), (a,))[
                0
            ]
        )
        root.defjvp(lambda p, t: (root(*p), t[0] / (2 * root(*p))))
        return root(a)

    yield Hard("square root by Newton, implicit rule", newton, (np.float32(2.0),))
    yield Hard(
        "while_loop: forward only",
        lambda x: lax.while_loop(lambda c: c.sum() < 100, lambda c: c * 1.5, x),
        (abs(X),),
    )
    yield Hard("branch on a value", lambda x: lax.cond(x.sum() > 0, jnp.sin, jnp.cos, x), (X,))
    yield Hard("Python branch on a value", lambda x: jnp.sin(x) if x[0] > 0 else jnp.cos(x), (X,))
    yield Hard("float32 only", lambda x: jnp.sin(x) if x.dtype == np.float32 else 1 / 0, (X,))
    yield Hard(
        "a long scan",
        lambda x: lax.scan(lambda c, e: (jnp.tanh(0.9 * c + e), c), 0 * x[0], jnp.tile(x, 30))[0],
        (X,),
    )
    yield Hard("checkpointed", jax.checkpoint(lambda x: jnp.sin(jnp.sin(x))), (X,), 2)
    yield Hard("bfloat16", lambda x: jnp.tanh(x).sum(), (X.astype(jnp.bfloat16),))
    yield Hard("float16", lambda x: jnp.exp(x), (X.astype(np.float16),))
    yield Hard("bfloat16 on the way", lambda x: (x.astype(jnp.bfloat16) ** 2).astype(jnp.float32), (X,))
    yield Hard("float64 arguments", lambda x: jnp.sin(x), (X.astype(np.float64),))
    yield Hard("integers among the arguments", lambda x, i: x[i] * i, (X, np.int32(2)))
    yield Hard("integers and floats out", lambda x: {"i": jnp.argmax(x), "x": x.max()}, (X,))
    yield Hard("nothing in an array", lambda x, y: x.sum() + (y**2).sum(), (np.zeros((0, 3), np.float32), X))
    yield Hard(
        "dropout with a key",
        lambda key, x: jnp.where(jax.random.bernoulli(key, 0.5, x.shape), x / 0.5, 0.0),
        (jax.random.key(0), X),
    )
    yield Hard(
        "reparametrised noise",
        lambda key, m: m + jax.random.normal(key, m.shape) * jnp.exp(m),
        (jax.random.key(1), X),
    )
    yield Hard("complex to real", lambda z: jnp.abs(z) ** 2, (COMPLEX,))
    yield Hard("not holomorphic", lambda z: jnp.conj(z) * z * z, (COMPLEX,))
    yield Hard("fft of a real array", jnp.fft.rfft, (X,))
    yield Hard("angle", jnp.angle, (COMPLEX,))
    yield Hard("a constant of numpy", lambda x: x * np.arange(7) + np.float64(0.1), (X,))
    yield Hard("callback with a rule", callback_sine(), (X,))
    yield Hard("Python numbers", lambda a, b: a * b**2, (2.0, 3.0), 2)
    yield Hard("third order", lambda x: jnp.sin(x) * x**2, (X[:3],), 3)
    yield Hard(
        "constant rounded to float32 in the rule",
        ruled(lambda x: jnp.sin(0.1 * x), lambda r, y: (0.1 * jnp.cos(0.1 * r[0]) * y,)),
        (X,),
    )
    yield Hard(
        "rule for the given order only",
        ruled(lambda x: x**3, lambda r, y: (3 * lax.stop_gradient(r[0]) ** 2 * y,)),
        (X,),
    )
    yield Hard(
        "straight-through where it is exact",
        lambda x: x + lax.stop_gradient(jnp.round(x) - jnp.round(x)),
        (X,),
    )


def callback_sine() -> Callable[..., Any]:
    def host(g, x):
        return jax.pure_callback(
            lambda x: np.asarray(g(x), x.dtype),
            jax.ShapeDtypeStruct(x.shape, x.dtype),
            x,
            vmap_method="broadcast_all",
        )

    f = jax.custom_vjp(lambda x: host(np.sin, x))
    f.defvjp(lambda x: (host(np.sin, x), x), lambda x, y: (host(np.cos, x) * y,))
    return f


def hard_functions() -> list[Hard]:
    return [*edges(), *scales(), *oscillations(), *kinks(), *algebra(), *programs()]
