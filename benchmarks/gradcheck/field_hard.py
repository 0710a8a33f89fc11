"""Correct functions that are hard to verify, as they occur in practice: losses, loops, samplers, unusual arguments."""

from __future__ import annotations

import collections
import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from bugs import COMPLEX, IMAGE, KERNEL, LOGITS, POSITIVE, SQUARE, A, B, X, Y, conv, normal, pool, ruled
from hard import SYMMETRIC, Hard, f32
from jax import lax
from jax.custom_batching import custom_vmap
from jax.custom_derivatives import linear_call

SPD = (SQUARE @ SQUARE.T).astype(np.float32)
Point = collections.namedtuple("Point", ["x", "y"])
KEY = jax.random.key(7)


def kinks() -> Iterator[Hard]:
    yield Hard(
        "pool of tied windows under a network",
        lambda x: pool(jax.nn.relu(x - 1.0)).sum(),
        (np.round(IMAGE[:, :4, :4]),),
    )
    yield Hard("sort with ties, weighted", lambda x: (jnp.sort(x) ** 2).sum(), (f32(1, 1, 1, 0),))
    yield Hard("median of ties", jnp.median, (f32(2, 2, 1, 3, 2),))
    yield Hard("quantile at a node", lambda x: jnp.quantile(x, 0.5), (f32(3, 1, 2, 5, 4),))
    yield Hard("top_k of ties", lambda x: lax.top_k(x, 2)[0].sum(), (f32(1, 2, 2, 2),))
    yield Hard("argmax gather", lambda x: x[jnp.argmax(x)] ** 2, (X,))
    yield Hard("cummax of ties", lax.cummax, (f32(1, 1, 2, 2, 0),))
    yield Hard("clip, every number at an edge", lambda x: jnp.clip(x, 0, 1).sum(), (f32(0, 1, 0, 1),))
    yield Hard("sign times number", lambda x: x * jnp.sign(x), (f32(0, 1, -2),))
    yield Hard("steps and flats", lambda x: jnp.floor(x) + jnp.sign(x) + jnp.ceil(x), (f32(0.5, -1.2, 2.7),))
    yield Hard("remainder", lambda x: jnp.fmod(x, 1.0) + jnp.mod(x, 0.75), (f32(0.5, 1.2, 2.7),))
    yield Hard(
        "hard tanh, hard swish at their knots",
        lambda x: jax.nn.hard_tanh(x) + jax.nn.hard_swish(x),
        (f32(-1, 1, 3, -3),),
    )
    yield Hard("l-infinity norm of ties", lambda x: jnp.max(jnp.abs(x)), (f32(2, -2, 1),))
    yield Hard("triangle wave at its peaks", lambda x: jnp.abs(x - jnp.round(x)), (f32(0.25, 1.0, 2.3),))
    yield Hard(
        "soft threshold at the threshold", lambda x: jnp.sign(x) * jnp.maximum(jnp.abs(x) - 1, 0), (f32(1, -1, 0.5, 3),)
    )
    yield Hard("maximum of three equal planes", lambda x: jnp.maximum(jnp.maximum(x[0], x[1]), x[2]), (f32(1, 1, 1),))
    yield Hard(
        "leaky relu, elu, celu at zero",
        lambda x: jax.nn.leaky_relu(x) + jax.nn.elu(x) + jax.nn.celu(x),
        (f32(0, -1, 1),),
    )
    yield Hard(
        "piecewise with equal pieces",
        lambda x: jnp.piecewise(x, [x < 0, x >= 0], [lambda x: x**2, lambda x: x**3]),
        (f32(0, 1, -1),),
    )


def ill_conditioned() -> Iterator[Hard]:
    yield Hard("softplus of 1e3", jax.nn.softplus, (f32(1e3, -1e3, 0),))
    yield Hard("log sigmoid of 1e3", jax.nn.log_sigmoid, (f32(1e3, -1e3, 0),))
    yield Hard("log1p, expm1 of tiny numbers", lambda x: jnp.log1p(x) + jnp.expm1(x), (f32(1e-8, -1e-12, 1e-30),))
    yield Hard("x log x of tiny numbers", lambda x: jax.scipy.special.xlogy(x, x), (f32(1e-30, 1e-5, 1),))
    yield Hard("entr", lambda x: jax.scipy.special.entr(x).sum(), (f32(1e-6, 0.5, 0.9),))
    yield Hard("negative base, integer power", lambda x: x**3 + x**-2 + jnp.power(x, 5), (f32(-1.5, -0.1, 2),))
    yield Hard("betainc", lambda x: jax.scipy.special.betainc(2.0, 3.0, x), (f32(0.01, 0.5, 0.99),))
    yield Hard("gammainc in x", lambda x: jax.scipy.special.gammainc(2.0, x), (f32(0.1, 2, 20),))
    yield Hard("igamma in a", lambda a: jax.scipy.special.gammainc(a, jnp.asarray(1.5, a.dtype)), (f32(0.5, 2.0),))
    yield Hard(
        "zeta, polygamma",
        lambda x: jax.scipy.special.polygamma(1, x) + jax.scipy.special.zeta(x + 1, 1.0),
        (f32(0.7, 3),),
    )
    yield Hard(
        "ndtri, ndtr, log_ndtr",
        lambda x: jax.scipy.special.ndtri(x) + jax.scipy.special.log_ndtr(-30 * x),
        (f32(1e-4, 0.5, 0.9),),
    )
    yield Hard("i1, i1e", lambda x: jax.scipy.special.i1(x) + jax.scipy.special.i1e(x), (f32(0.1, 3, 12),))
    yield Hard(
        "hypot, arctan2 near zero", lambda x, y: jnp.hypot(x, y) + jnp.arctan2(x, y), (f32(1e-12, 1e-3), f32(1e-12, -2))
    )
    yield Hard("output of 1e30 beside 1e-30", lambda x: {"a": 1e30 * jnp.sin(x), "b": 1e-30 * jnp.cos(x)}, (X,))
    yield Hard("denormal arguments", lambda x: x * 3.0, (f32(1e-40, 2e-42, 1.0),))
    yield Hard("squares of denormals", lambda x: (x * 1e20) ** 2, (f32(1e-39, 1e-20),))
    yield Hard("Rosenbrock", lambda x: (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum(), (X,), 2)
    yield Hard(
        "logistic map, 50 steps", lambda x: lax.fori_loop(0, 50, lambda i, c: 3.99 * c * (1 - c), x), (f32(0.3, 0.61),)
    )
    yield Hard("long noisy float32 sum", lambda x: (1e4 + jnp.tile(x, 1000)).sum(), (X,))
    yield Hard("float32 cancellation", lambda x: jnp.sqrt(x**2 + 1e4) - 100.0, (X,))
    yield Hard(
        "logsumexp with minus infinity", lambda x: jax.nn.logsumexp(jnp.where(jnp.arange(7) < 3, -jnp.inf, x)), (X,)
    )
    yield Hard(
        "masked rows of a softmax",
        lambda x: jnp.where(
            (m := jnp.arange(5)[:, None] > 1), jax.nn.softmax(jnp.where(m & (jnp.arange(4) < 3), x, -1e9)), 0.0
        ),
        (LOGITS,),
    )
    yield Hard("constant in one argument", lambda a, b: jnp.sin(a) + 0 * b, (X, Y))
    yield Hard("huge offset in one leaf", lambda p: jnp.tanh(p["a"]) + (p["b"] - 1e6), ({"a": X, "b": 1e6 + Y},))
    yield Hard("vanished sigmoid", lambda x: jax.nn.sigmoid(x), (f32(-90, 90, 40),))
    yield Hard(
        "pairwise distances with a zero diagonal",
        lambda x: jnp.sqrt(jnp.where((d := ((x[:, None] - x[None]) ** 2).sum(-1)) > 0, d, 1.0)).sum(),
        (A,),
    )
    yield Hard(
        "cosine similarity of nearly equal vectors",
        lambda a, b: a @ b / (jnp.linalg.norm(a) * jnp.linalg.norm(b)),
        (X, X * (1 + 1e-4 * Y)),
    )
    yield Hard(
        "stiff decay",
        lambda k: lax.fori_loop(0, 30, lambda i, y: y / (1 + 0.1 * k), jnp.ones_like(k)),
        (f32(1e4, 1.0, 1e-3),),
    )


def samplers() -> Iterator[Hard]:
    yield Hard("gamma variates", lambda a: jax.random.gamma(KEY, a), (f32(0.5, 2.0, 7.0),))
    yield Hard("beta variates", lambda a, b: jax.random.beta(KEY, a, b), (f32(0.5, 2.0), f32(1.5, 3.0)))
    yield Hard("Dirichlet variates", lambda a: jax.random.dirichlet(KEY, a), (f32(0.5, 2.0, 4.0),))
    yield Hard("log gamma variates", lambda a: jax.random.loggamma(KEY, a), (f32(0.1, 3.0),))
    yield Hard("Student's t variates", lambda d: jax.random.t(KEY, d, (2,)), (f32(3.0, 5.0),))
    yield Hard("Gumbel softmax", lambda x: jax.nn.softmax((x + jax.random.gumbel(KEY, x.shape)) / 0.3), (LOGITS,))
    yield Hard("truncated normal", lambda m: m * jax.random.truncated_normal(KEY, -1.0, 1.0, m.shape), (X,))
    yield Hard("draws in the widest dtype", lambda x: x * jax.random.uniform(KEY, x.shape), (X,))
    yield Hard("permutation", lambda x: jax.random.permutation(KEY, x) * jnp.arange(7), (X,))
    yield Hard("categorical gather", lambda x: x[jax.random.categorical(KEY, jnp.zeros(7))] ** 2, (X,))
    yield Hard("poisson counts", lambda x: x * jax.random.poisson(KEY, 3.0, x.shape), (X,))
    yield Hard(
        "key among the arguments, split inside",
        lambda k, x: sum(jax.random.normal(s, x.shape, x.dtype) for s in jax.random.split(k)) * x,
        (KEY, X),
    )
    yield Hard("raw key", lambda k, x: x + jax.random.normal(k, x.shape), (jax.random.PRNGKey(0), X))


def bits() -> Iterator[Hard]:
    def magnitude(x):
        i = lax.bitcast_convert_type(x.astype(jnp.float32), jnp.uint32) & jnp.uint32(0x7FFFFFFF)
        return lax.bitcast_convert_type(i, jnp.float32)

    yield Hard("abs by its bits, with a rule", ruled(magnitude, lambda r, y: (jnp.sign(r[0]) * y,)), (X,))
    yield Hard("frexp and ldexp", lambda x: jnp.ldexp(jnp.frexp(x)[0], 3), (X,))
    yield Hard("epsilon of its dtype", lambda x: x / (jnp.abs(x) + jnp.finfo(x.dtype).eps), (f32(1.0, 1e-7, -3e-8),))
    yield Hard(
        "smallest number of its dtype", lambda x: jnp.log(jnp.maximum(x, jnp.finfo(x.dtype).tiny)), (f32(1e-3, 2.0),)
    )
    yield Hard(
        "largest number of its dtype as a mask",
        lambda x: jax.nn.softmax(jnp.where(jnp.arange(7) < 5, x, jnp.finfo(x.dtype).min)),
        (X,),
    )
    yield Hard(
        "sqrt with the dtype's epsilon at zero", lambda x: jnp.sqrt(x**2 + jnp.finfo(x.dtype).eps), (f32(0.0, 1.0),)
    )
    yield Hard("branch on the dtype", lambda x: jnp.sin(x) if jnp.finfo(x.dtype).bits == 32 else jnp.cos(x), (X,))
    yield Hard("hash of an integer part", lambda x: x * ((jnp.floor(10 * x).astype(jnp.int32) * 7919) % 13), (X,))
    yield Hard("quantised by an integer cast", lambda x: (8 * x).astype(jnp.int32).astype(x.dtype) / 8 + 0 * x, (X,))
    yield Hard("table looked up by value", lambda t, x: t[jnp.clip((3 * x).astype(jnp.int32), 0, 6)] * x, (X, POSITIVE))


def whole_models() -> Iterator[Hard]:
    def transformer(p, x):
        h = (x - x.mean(-1, keepdims=True)) * lax.rsqrt(x.var(-1, keepdims=True) + 1e-5)
        q, k, v = (h @ p[n] for n in "qkv")
        mask = jnp.tril(jnp.ones((5, 5), bool))
        x = x + jax.nn.softmax(jnp.where(mask, q @ k.T / 2.0, -jnp.inf)) @ v
        return (x + jax.nn.gelu(x @ p["up"]) @ p["down"]).sum()

    shapes = {"q": (4, 4), "k": (4, 4), "v": (4, 4), "up": (4, 8), "down": (8, 4)}
    block = {n: normal(*s, seed=i, scale=0.5) for i, (n, s) in enumerate(shapes.items())}
    yield Hard("transformer block, causal mask", transformer, (block, normal(5, 4)))

    def resnet(ws, x):
        for w in ws:
            x = x + jax.nn.relu(conv(x, w))
        return jnp.log(jnp.mean(x**2))

    yield Hard("six residual blocks", resnet, ([normal(3, 3, 3, 3, seed=i, scale=0.2) for i in range(6)], IMAGE))

    def hmm(logits, start):
        t = jax.nn.log_softmax(logits)
        alpha = lax.scan(lambda a, e: (jax.nn.logsumexp(a[:, None] + t, axis=0) + e, None), start, normal(12, 3))[0]
        return jax.nn.logsumexp(alpha)

    yield Hard(
        "hidden Markov model, forward algorithm",
        hmm,
        (normal(3, 3), f32(0, -5, -9)),
    )
    yield Hard(
        "HMM with an impossible state", lambda t: hmm(t, jnp.array([0.0, -5.0, -jnp.inf], t.dtype)), (normal(3, 3),)
    )

    def ctc(logits):
        import optax

        return optax.ctc_loss(logits[None], jnp.zeros((1, 6)), jnp.array([[1, 2, 2]]), jnp.zeros((1, 3)))[0]

    yield Hard("CTC loss", ctc, (normal(6, 4),))

    def lenet_loss(p, x):
        h = jnp.tanh(conv(x, p["c1"]))
        h = lax.reduce_window(h, 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID") / 4
        out = jnp.tanh(h.reshape(2, -1) @ p["f"])
        return ((out - 0.5) ** 2).sum() + jnp.log(jnp.exp(-1.0) + jnp.exp(-out).sum(-1)).sum()

    yield Hard("small LeNet", lenet_loss, ({"c1": KERNEL, "f": normal(36, 5, scale=0.2)}, IMAGE))
    yield Hard(
        "GRU over a sequence",
        gru,
        (normal(4, 9, scale=0.5), normal(3, 9, seed=1, scale=0.5), normal(5, 4)[:, :3] * 1.0),
    )
    yield Hard(
        "scan of checkpoints",
        lambda w, x: lax.scan(jax.checkpoint(lambda c, _: (jnp.tanh(w @ c), None)), x, None, length=20)[0],
        (normal(4, 4), normal(4)),
    )
    yield Hard("ODE by Runge-Kutta", runge_kutta, (normal(2), normal(2, seed=1)))
    yield Hard("a million numbers", lambda x: jnp.tanh(x).sum(), (normal(1_000_000),))
    yield Hard("large matrix product", lambda a, b: (a @ b).sum(), (normal(300, 200), normal(200, 100)))


def gru(w, u, xs):
    def step(h, x):
        zr, n = jnp.split(jax.nn.sigmoid(x @ u[:, :6] + h @ w[:3, :6]), 2)
        c = jnp.tanh(x @ u[:, 6:] + (n * h) @ w[:3, 6:])
        return zr * h + (1 - zr) * c, h

    return lax.scan(step, jnp.zeros(3, xs.dtype), xs)


def runge_kutta(theta, y):
    def field(y):
        return jnp.stack([theta[0] * y[1], jnp.sin(theta[1] * y[0])])

    def step(y, _):
        k1 = field(y)
        k2 = field(y + 0.05 * k1)
        return y + 0.1 * k2, y

    return lax.scan(step, y, None, length=15)


def algebra() -> Iterator[Hard]:
    def sym(a):
        return (a + a.T) / 2

    yield Hard("pseudo-inverse", jnp.linalg.pinv, (normal(4, 3),))
    yield Hard("spectral norm", lambda a: jnp.linalg.norm(a, 2), (normal(4, 3),))
    yield Hard("nuclear norm", lambda a: jnp.linalg.norm(a, "nuc"), (normal(3, 3),))
    yield Hard("matrix powers", lambda a: jnp.linalg.matrix_power(a, 5), (normal(3, 3),))
    yield Hard(
        "sqrt of a positive matrix by eigh",
        lambda a: ((w := jnp.linalg.eigh(sym(a)))[1] * jnp.sqrt(w[0])) @ w[1].T,
        (SPD,),
    )
    yield Hard(
        "Gaussian log density",
        lambda a, x: -0.5 * x @ jnp.linalg.solve(a, x) - jnp.log(jnp.diag(jnp.linalg.cholesky(a))).sum(),
        (SPD, normal(4)),
    )
    yield Hard(
        "triangular solve",
        lambda a, b: lax.linalg.triangular_solve(a, b, left_side=True, lower=True),
        (SQUARE, normal(4, 2)),
    )
    yield Hard("batched solve", lambda a, b: jnp.linalg.solve(a, b), (np.stack([SQUARE, SYMMETRIC]), normal(2, 4, 1)))
    yield Hard("lstsq", lambda a, b: jnp.linalg.lstsq(a, b)[0], (A, normal(4)))
    yield Hard("kron, outer, einsum", lambda a, b: jnp.einsum("ij,kl->ikjl", a, b).sum((0, 3)), (A, B))
    yield Hard("fft of two axes", lambda x: jnp.abs(jnp.fft.fft2(x)).sum(), (A,))
    yield Hard("irfft", lambda z: jnp.fft.irfft(z, 8), (COMPLEX,))
    yield Hard("holomorphic chain", lambda z: jnp.exp(jnp.sin(z)) / (1 + z**2), (COMPLEX,), 2)
    yield Hard(
        "complex matrix solve",
        lambda a, b: jnp.linalg.solve(a, b),
        (SQUARE + 1j * normal(4, 4, seed=9), normal(4) + 0j),
    )
    yield Hard("square root of a complex number", jnp.sqrt, (COMPLEX,))
    yield Hard("real and imaginary parts apart", lambda z: (z.real**2, jnp.sin(z.imag)), (COMPLEX,))
    yield Hard("eigenvalues of a plain matrix", lambda a: jnp.abs(jnp.linalg.eigvals(a)).sum(), (SQUARE,))
    yield Hard("sparse product", sparse_product, (X, Y))


def sparse_product(v, x):
    from jax.experimental import sparse

    m = sparse.BCOO((v, jnp.stack([jnp.arange(7), (3 * jnp.arange(7)) % 7], 1)), shape=(7, 7))
    return m @ x


def programs() -> Iterator[Hard]:
    def bisected(a):
        solve = jax.custom_vjp(lambda a: lax.fori_loop(0, 60, lambda i, z: z - (z**3 + z - a) / (3 * z**2 + 1), 0 * a))
        solve.defvjp(lambda a: ((z := solve(a)), z), lambda z, y: (y / (3 * z**2 + 1),))
        return solve(a)

    yield Hard("root by implicit rule", bisected, (f32(0.5, 3.0),))
    yield Hard(
        "custom_root",
        lambda a: lax.custom_root(
            lambda z: z**3 + z - a,
            jnp.ones_like(a),
            lambda f, z: lax.fori_loop(0, 30, lambda i, z: z - f(z) / (3 * z**2 + 1), z),
            lambda g, y: y / g(jnp.ones_like(y)),
        ),
        (f32(2.0),),
    )
    yield Hard(
        "custom_linear_solve",
        lambda a, b: lax.custom_linear_solve(
            lambda v: a @ v, b, lambda mv, b: jnp.linalg.solve(jax.jacobian(mv)(b), b), symmetric=True
        ),
        (SPD, normal(4)),
    )
    yield Hard(
        "while with a counter and a float end",
        lambda x: lax.while_loop(
            lambda c: (c[1] < 50) & (jnp.abs(c[0]).max() > 1e-3), lambda c: (0.7 * c[0], c[1] + 1), (x, 0)
        )[0],
        (X,),
    )
    yield Hard("switch of three", lambda i, x: lax.switch(i, [jnp.sin, jnp.cos, lambda x: x**2], x), (np.int32(1), X))
    yield Hard("nested jit, vmap and checkpoint", jax.jit(jax.vmap(jax.checkpoint(lambda x: jnp.sin(x) * x))), (X,), 2)
    yield Hard("map over rows", lambda x: lax.map(lambda r: jnp.tanh(r).sum(), x), (A,))
    yield Hard("shard_map on one device", sharded, (X,))
    yield Hard(
        "linear_call",
        lambda x: linear_call(lambda r, v: r * v, lambda r, y: r * y, jnp.asarray(2.0, x.dtype), jnp.sin(x)),
        (X,),
    )
    yield Hard("custom_vmap without a rule of derivation", batched_sine(), (X,))
    yield Hard("nondifferentiable argument", scaled_sine(), (X,))
    yield Hard("order 2 of a custom_vjp", ruled(lambda x: x**3, lambda r, y: (3 * r[0] ** 2 * y,)), (X,), 2)
    yield Hard("rule that gives None for an integer", none_for_integer(), (X, np.arange(7)))
    yield Hard("residuals in a pytree of None", none_residual(), (X,))
    yield Hard("Python float, numpy scalar and list", lambda a, b, c: a * b + sum(c), (1.5, np.float32(2), [0.5, 1.0]))
    yield Hard("named tuples and None", lambda p: Point(p.x**2, None), (Point(X, None),))
    yield Hard(
        "booleans and integers beside floats",
        lambda m, i, x: jnp.where(m, x[i], 0.0),
        (np.array([True, False]), np.array([1, 2]), X),
    )
    yield Hard("zero-size output beside a real one", lambda x: (x[:0], jnp.sin(x)), (X,))
    yield Hard("scalar of shape ()", lambda x: jnp.sin(x) * 3, (np.float32(0.3),))
    yield Hard("float16 convolution", conv, (IMAGE.astype(np.float16), KERNEL.astype(np.float16)))
    yield Hard(
        "bfloat16 layer norm",
        lambda x: (x - x.mean(-1, keepdims=True)) * lax.rsqrt(x.var(-1, keepdims=True) + 1e-3),
        (A.astype(jnp.bfloat16),),
    )
    yield Hard(
        "float16 sum with a float32 accumulator",
        lambda x: x.astype(jnp.float32).sum() * 1e-3,
        (np.linspace(1, 100, 50).astype(np.float16),),
    )
    yield Hard("debug print and named scope", printing, (X,))
    yield Hard("partial with static keyword", functools.partial(jnp.sum, axis=0), (A,))
    yield Hard("bound method", Scaler(3.0).scale, (X,))
    yield Hard("where on a nan constant", lambda x: jnp.where(jnp.array([True] * 6 + [False]), x, jnp.nan)[:6], (X,))
    yield Hard("nan input that does not matter", lambda x: jnp.where(jnp.isnan(x), 0.0, x) ** 2, (f32(1, np.nan, 2),))
    yield Hard("infinite output", lambda x: jnp.stack([x.sum(), jnp.inf * jnp.ones_like(x[0])]), (X,))
    yield Hard(
        "scatter with drops",
        lambda x: jnp.zeros(4, x.dtype).at[jnp.array([0, 9, 1, 1, -1, 2, 3])].add(x, mode="drop"),
        (X,),
    )
    yield Hard("multi-output custom rule, one output unused", lambda x: sincos()(x)[0], (X,))
    yield Hard(
        "cond with a custom rule in a branch",
        lambda x: lax.cond(x[0] > 100, jnp.cos, lambda x: sincos()(x)[1], x),
        (X,),
    )
    yield Hard(
        "scan over a custom rule", lambda x: lax.scan(lambda c, e: (sincos()(c + e)[0], c), 0 * x[0], x)[1], (X,)
    )
    yield Hard("third order of a polynomial", lambda x: (x**4).sum(), (X[:3],), 3)
    yield Hard("jacobian inside", lambda x: jnp.trace(jax.jacobian(lambda x: jnp.sin(x) * x.sum())(x)), (X,))
    yield Hard(
        "gradient penalty", lambda w, x: (jax.grad(lambda x: jnp.tanh(x @ w).sum())(x) ** 2).sum(), (normal(3), A)
    )


def batched_sine():
    f = custom_vmap(jnp.sin)
    f.def_vmap(lambda size, is_batched, x: (jnp.sin(x), is_batched[0]))
    return lambda x: f(x)


def scaled_sine():
    f = jax.custom_vjp(lambda k, x: jnp.sin(k * x), nondiff_argnums=(0,))
    f.defvjp(lambda k, x: (jnp.sin(k * x), x), lambda k, x, y: (k * jnp.cos(k * x) * y,))
    return lambda x: f(3.0, x)


def none_for_integer():
    f = jax.custom_vjp(lambda x, i: x[i] * 2)
    f.defvjp(lambda x, i: (x[i] * 2, (x, i)), lambda r, y: (jnp.zeros_like(r[0]).at[r[1]].add(2 * y), None))
    return f


def none_residual():
    f = jax.custom_vjp(jnp.sin)
    f.defvjp(lambda x: (jnp.sin(x), {"x": x, "rest": None}), lambda r, y: (jnp.cos(r["x"]) * y,))
    return f


@functools.cache
def sincos():
    f = jax.custom_vjp(lambda x: (jnp.sin(x), jnp.cos(x)))
    f.defvjp(lambda x: ((jnp.sin(x), jnp.cos(x)), x), lambda x, y: (jnp.cos(x) * y[0] - jnp.sin(x) * y[1],))
    return f


class Scaler:
    def __init__(self, by: float) -> None:
        self.by = by

    def scale(self, x: Any) -> Any:
        return self.by * jnp.sin(x)


def printing(x):
    jax.debug.print("x = {}", x[:0])
    with jax.named_scope("layer"):
        return jnp.sin(x)


def sharded(x):
    mesh = jax.make_mesh((1,), ("i",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("i")
    return jax.shard_map(lambda x: jnp.sin(x) * lax.psum(x.sum(), "i"), mesh=mesh, in_specs=spec, out_specs=spec)(x)


def field_hard_functions() -> list[Hard]:
    return [*kinks(), *ill_conditioned(), *samplers(), *bits(), *whole_models(), *algebra(), *programs()]
