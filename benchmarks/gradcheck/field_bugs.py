"""Bugs as they occur in practice: layers, losses, loops, solvers, rules with state. Each has its repaired twin."""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from bugs import COMPLEX, LABELS, LOGITS, POSITIVE, SQUARE, A, Bug, X, Y, normal, right, ruled, tangent_ruled
from jax import lax
from jax.custom_derivatives import linear_call

SPD = (SQUARE @ SQUARE.T).astype(np.float32)
SEQUENCE = normal(6, 3)
CELL = {"w": normal(3, 3, scale=0.5), "u": normal(3, 3, seed=1, scale=0.5), "b": normal(3, seed=2)}
Pair = collections.namedtuple("Pair", ["weight", "bias"])


@functools.partial(jax.tree_util.register_dataclass, data_fields=["scale", "shift"], meta_fields=["eps"])
@dataclasses.dataclass
class Norm:
    scale: Any
    shift: Any
    eps: float = 1e-5


def bug(name, f, bad, args, order=1, good=None):
    def plain(*args):  # without the optional arguments, which custom_vjp would pass to the rule as well
        return f(*args)

    return Bug(name, ruled(plain, bad), ruled(plain, good or right(plain)), args, order)


def layers() -> Iterator[Bug]:
    def attention(q, k, v):
        return jax.nn.softmax(q @ k.T / np.sqrt(q.shape[-1]).astype(q.dtype)) @ v

    def attention_rule(scaled, diagonal):
        def bwd(r, y):
            q, k, v = r
            scale = jnp.asarray(1 / np.sqrt(q.shape[-1]), q.dtype)
            p = jax.nn.softmax(q @ k.T * scale)
            dp = y @ v.T
            ds = p * (dp - (0.0 if diagonal else 1.0) * (dp * p).sum(-1, keepdims=True))
            ds = ds * scale if scaled else ds
            return ds @ k, ds.T @ q, p.T @ y

        return bwd

    heads = (normal(4, 3), normal(5, 3, seed=1), normal(5, 2, seed=2))
    for name, rule in (
        ("scale of the logits forgotten", (False, False)),
        ("row sum of the softmax forgotten", (True, True)),
    ):
        yield bug(f"attention: {name}", attention, attention_rule(*rule), heads, good=attention_rule(True, False))

    def batch_norm(x, p):
        centred = x - x.mean(0)
        return p.scale * centred * lax.rsqrt((centred**2).mean(0) + p.eps) + p.shift

    def batch_norm_rule(n_minus_one):
        def bwd(r, y):
            x, p = r
            n = x.shape[0]
            centred = x - x.mean(0)
            inverse = lax.rsqrt((centred**2).mean(0) + p.eps)
            hat = centred * inverse
            d = y * p.scale
            dx = inverse * (d - d.mean(0) - hat * (d * hat).sum(0) / (n - 1 if n_minus_one else n))
            return dx, Norm((y * hat).sum(0), y.sum(0), p.eps)

        return bwd

    yield bug(
        "batch norm: N - 1 in the rule",
        batch_norm,
        batch_norm_rule(True),
        (normal(8, 3), Norm(normal(3), normal(3, seed=1))),
        good=batch_norm_rule(False),
    )

    def group_norm(x):
        g = x.reshape(2, 4, 2, 3)
        g = (g - g.mean((1, 3), keepdims=True)) * lax.rsqrt(g.var((1, 3), keepdims=True) + 1e-3)
        return g.reshape(2, 4, 6)

    yield bug(
        "group norm: groups interleaved in the rule",
        group_norm,
        lambda r, y: (right(group_norm)(r, y)[0].reshape(2, 4, 2, 3).swapaxes(2, 3).reshape(2, 4, 6),),
        (normal(2, 4, 6),),
    )
    yield bug(
        "rms norm: mean over the wrong axis",
        lambda x: x * lax.rsqrt((x**2).mean(-1, keepdims=True)),
        lambda r, y: (
            (s := lax.rsqrt((r[0] ** 2).mean(-1, keepdims=True)))
            * (y - r[0] * s**2 * (y * r[0]).mean(0, keepdims=True)),
        ),
        (normal(4, 4),),
    )

    def avg_pool(x):
        ones = lax.reduce_window(jnp.ones_like(x), 0.0, lax.add, (1, 3, 3, 1), (1, 2, 2, 1), "SAME")
        return lax.reduce_window(x, 0.0, lax.add, (1, 3, 3, 1), (1, 2, 2, 1), "SAME") / ones

    def avg_pool_rule(r, y):
        pull = jax.vjp(lambda x: lax.reduce_window(x, 0.0, lax.add, (1, 3, 3, 1), (1, 2, 2, 1), "SAME"), r[0])[1]
        return pull(y / 9)

    yield bug("average pool: borders divided by the whole window", avg_pool, avg_pool_rule, (normal(1, 5, 5, 2),))

    def depthwise(x, w):
        return lax.conv_general_dilated(
            x, w, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=3
        )

    yield bug(
        "strided depthwise conv: last phase dropped",
        depthwise,
        lambda r, y: (right(depthwise)(r, y.at[:, -1].set(0.0))[0], right(depthwise)(r, y)[1]),
        (normal(1, 6, 6, 3), normal(3, 3, 1, 6)),
    )
    yield bug(
        "conv: weight gradient of the first sample only",
        lambda x, w: lax.conv_general_dilated(x, w, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")),
        lambda r, y: (
            jax.vjp(
                lambda x: lax.conv_general_dilated(
                    x, r[1], (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
                ),
                r[0],
            )[1](y)[0],
            jax.vjp(
                lambda w: lax.conv_general_dilated(
                    r[0][:1], w, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
                ),
                r[1],
            )[1](y[:1])[0],
        ),
        (normal(3, 4, 4, 2), normal(2, 2, 2, 3)),
    )

    def gelu(x):
        return 0.5 * x * (1 + jnp.tanh(0.79788456 * (x + 0.044715 * x**3)))

    yield bug(
        "gelu: the exact slope for the tanh form",
        gelu,
        lambda r, y: (jax.grad(lambda x: jax.nn.gelu(x, approximate=False).sum())(r[0]) * y,),
        (X,),
    )
    yield bug(
        "selu: slope for negatives without alpha",
        jax.nn.selu,
        lambda r, y: (1.0507009873554805 * jnp.where(r[0] > 0, 1.0, jnp.exp(r[0])) * y,),
        (X,),
    )
    yield bug(
        "swish: sigmoid only",
        jax.nn.silu,
        lambda r, y: (jax.nn.sigmoid(r[0]) * y,),
        (X,),
    )
    yield bug(
        "dropout: scale forgotten on the way back",
        lambda x: jnp.where(jax.random.bernoulli(jax.random.key(3), 0.6, x.shape), x / 0.6, 0.0),
        lambda r, y: (jnp.where(jax.random.bernoulli(jax.random.key(3), 0.6, y.shape), y, 0.0),),
        (normal(4, 5),),
    )
    yield bug(
        "dropout: another mask on the way back",
        lambda x: jnp.where(jax.random.bernoulli(jax.random.key(3), 0.6, x.shape), x / 0.6, 0.0),
        lambda r, y: (jnp.where(jax.random.bernoulli(jax.random.key(4), 0.6, y.shape), y / 0.6, 0.0),),
        (normal(4, 5),),
    )
    table = normal(6, 3)
    ids = np.array([[0, 2, 2], [5, 2, 0]])
    yield bug(
        "embedding: repeated tokens counted once",
        lambda t: t[ids],
        lambda r, y: (jnp.zeros_like(r[0]).at[ids.reshape(-1)].set(y.reshape(-1, 3)),),
        (table,),
    )
    yield bug(
        "embedding: padding row gets a gradient",
        lambda t: jnp.where((ids == 0)[..., None], 0.0, t[ids]),
        lambda r, y: (jnp.zeros_like(r[0]).at[ids].add(y),),
        (table,),
    )
    yield bug(
        "upsampling: nearest neighbours averaged",
        lambda x: jnp.repeat(jnp.repeat(x, 2, 1), 2, 2),
        lambda r, y: (lax.reduce_window(y, 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID") / 4,),
        (normal(1, 3, 3, 2),),
    )
    yield bug(
        "pixel shuffle: axes exchanged",
        lambda x: x.reshape(2, 3, 2, 2).transpose(0, 2, 1, 3).reshape(4, 6),
        lambda r, y: (y.reshape(2, 2, 3, 2).transpose(0, 2, 3, 1).reshape(2, 3, 4),),
        (normal(2, 3, 4),),
    )
    yield bug(
        "rotary embedding: rotated the same way again",
        lambda x: jnp.stack(
            [
                x[..., 0] * np.cos(0.3) - x[..., 1] * np.sin(0.3),
                x[..., 0] * np.sin(0.3) + x[..., 1] * np.cos(0.3),
            ],
            -1,
        ).astype(x.dtype),
        lambda r, y: (
            jnp.stack(
                [
                    y[..., 0] * np.cos(0.3) - y[..., 1] * np.sin(0.3),
                    y[..., 0] * np.sin(0.3) + y[..., 1] * np.cos(0.3),
                ],
                -1,
            ).astype(y.dtype),
        ),
        (normal(5, 2),),
    )
    yield bug(
        "mixture: gates detached",
        lambda g, e: (jax.nn.softmax(g)[..., None] * e).sum(-2),
        lambda r, y: (jnp.zeros_like(r[0]), jax.nn.softmax(r[0])[..., None] * y[..., None, :]),
        (normal(4, 3), normal(4, 3, 2)),
    )


def losses() -> Iterator[Bug]:
    def smoothed(x):
        target = 0.9 * jax.nn.one_hot(LABELS, 4, dtype=x.dtype) + 0.025
        return -(target * jax.nn.log_softmax(x)).sum(-1).mean()

    yield bug(
        "label smoothing: forgotten on the way back",
        smoothed,
        lambda r, y: (y * (jax.nn.softmax(r[0]) - jax.nn.one_hot(LABELS, 4, dtype=r[0].dtype)) / 5,),
        (LOGITS,),
    )

    def bce(x):
        t = (jnp.arange(7) % 2).astype(x.dtype)
        return jnp.mean(jnp.maximum(x, 0) - x * t + jnp.log1p(jnp.exp(-abs(x))))

    yield bug(
        "binary cross entropy: targets' sign",
        bce,
        lambda r, y: (y * (jax.nn.sigmoid(r[0]) + (jnp.arange(7) % 2)).astype(r[0].dtype) / 7,),
        (X,),
    )

    def focal(x):
        p = jax.nn.sigmoid(x)
        return -((1 - p) ** 2 * jnp.log(p)).sum()

    yield bug(
        "focal loss: factor taken as constant",
        focal,
        lambda r, y: (-y * (1 - jax.nn.sigmoid(r[0])) ** 3,),
        (X,),
    )

    def info_nce(a, b):
        a, b = (v / jnp.linalg.norm(v, axis=-1, keepdims=True) for v in (a, b))
        logits = a @ b.T / 0.1
        return -jnp.mean(jnp.diag(jax.nn.log_softmax(logits)))

    yield Bug(
        "contrastive loss: the keys detached",
        lambda a, b: info_nce(a, lax.stop_gradient(b)),
        info_nce,
        (normal(4, 3), normal(4, 3, seed=1)),
    )
    yield Bug(
        "contrastive loss: the norm detached",
        lambda a: jnp.sum((a / lax.stop_gradient(jnp.linalg.norm(a, axis=-1, keepdims=True))) ** 3),
        lambda a: jnp.sum((a / jnp.linalg.norm(a, axis=-1, keepdims=True)) ** 3),
        (A,),
    )

    def triplet(a, p, n):
        return jnp.maximum(0.0, ((a - p) ** 2).sum(-1) - ((a - n) ** 2).sum(-1) + 1.0).sum()

    def triplet_rule(sign):
        def bwd(r, y):
            a, p, n = r
            on = (((a - p) ** 2).sum(-1) - ((a - n) ** 2).sum(-1) + 1.0 > 0)[:, None] * y
            return 2 * on * (n - p), 2 * on * (p - a), sign * 2 * on * (a - n)

        return bwd

    yield bug(
        "triplet loss: negative pushed the wrong way",
        triplet,
        triplet_rule(-1),
        (A, normal(4, 3, seed=5), normal(4, 3, seed=6)),
        good=triplet_rule(1),
    )

    def dice(p):
        t = (jnp.arange(7) % 3 == 0).astype(p.dtype)
        return 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)

    yield bug(
        "dice loss: denominator taken as constant",
        dice,
        lambda r, y: (-2 * y * (jnp.arange(7) % 3 == 0).astype(r[0].dtype) / (r[0].sum() + 3 + 1),),
        (POSITIVE,),
    )
    yield bug(
        "KL divergence: the entropy's one forgotten",
        lambda p: (p * jnp.log(p / 0.2)).sum(),
        lambda r, y: (y * jnp.log(r[0] / 0.2),),
        (POSITIVE,),
    )
    mask = np.array([1, 1, 0, 1, 0, 0, 1], bool)
    yield bug(
        "masked mean: divided by all",
        lambda x: jnp.where(mask, x**2, 0.0).sum() / mask.sum(),
        lambda r, y: (2 * y * jnp.where(mask, r[0], 0.0) / 7,),
        (X,),
    )
    yield bug(
        "masked softmax: masked places get a gradient",
        lambda x: jnp.where(mask, jax.nn.softmax(jnp.where(mask, x, -jnp.inf)), 0.0),
        lambda r, y: (
            (p := jax.nn.softmax(jnp.where(mask, r[0], -jnp.inf))) * y - p * (p * y).sum() + 0.01 * y * ~mask,
        ),
        (X,),
    )
    rows = np.array([[0.0], [-np.inf]], np.float32)
    yield Bug(
        "softmax of a fully masked row: nan",
        lambda x: jnp.where(rows == 0, jax.nn.softmax(x + rows), 0.0),
        lambda x: jnp.where(rows == 0, jax.nn.softmax(jnp.where(rows == 0, x, 0.0)), 0.0),
        (normal(2, 3),),
    )
    yield bug(
        "quantile loss: sides exchanged",
        lambda e: jnp.maximum(0.9 * e, -0.1 * e).sum(),
        lambda r, y: (y * jnp.where(r[0] > 0, 0.1, -0.9),),
        (X,),
    )
    yield bug(
        "huber: unbounded slope",
        lambda x: jnp.where(abs(x) < 1, 0.5 * x**2, abs(x) - 0.5).sum(),
        lambda r, y: (y * r[0],),
        (2 * X,),
    )
    yield bug(
        "cosine similarity: projection forgotten",
        lambda a, b: a @ b / (jnp.linalg.norm(a) * jnp.linalg.norm(b)),
        lambda r, y: (
            y * r[1] / (jnp.linalg.norm(r[0]) * jnp.linalg.norm(r[1])),
            y * r[0] / (jnp.linalg.norm(r[0]) * jnp.linalg.norm(r[1])),
        ),
        (X, Y),
    )


def loops() -> Iterator[Bug]:
    def rnn(p, xs):
        return lax.scan(
            lambda h, x: ((h := jnp.tanh(h @ p["w"] + x @ p["u"] + p["b"])), h), jnp.zeros(3, xs.dtype), xs
        )[1]

    def truncated(p, xs):
        def step(h, x):
            h = jnp.tanh(lax.stop_gradient(h) @ p["w"] + x @ p["u"] + p["b"])
            return h, h

        return lax.scan(step, jnp.zeros(3, xs.dtype), xs)[1]

    yield Bug("RNN: the hidden state detached", truncated, rnn, (CELL, SEQUENCE))

    def through_time(last_only):
        def bwd(r, y):
            p, xs = r
            hs = rnn(p, xs)
            before = jnp.concatenate([jnp.zeros((1, 3), xs.dtype), hs[:-1]])

            def back(carry, row):
                x, h, prev, dy = row
                d = (dy + carry) * (1 - h**2)
                grads = (jnp.outer(prev, d), jnp.outer(x, d), d, d @ p["u"].T)
                return d @ p["w"].T, grads

            _, (w, u, b, x) = lax.scan(back, jnp.zeros(3, xs.dtype), (xs, hs, before, y), reverse=True)
            w, u, b = (g[-1] if last_only else g.sum(0) for g in (w, u, b))
            return {"w": w, "u": u, "b": b}, x

        return bwd

    yield bug(
        "RNN: weights' gradient of the last step only",
        rnn,
        through_time(True),
        (CELL, SEQUENCE),
        good=through_time(False),
    )
    yield bug(
        "recurrence: reversed order forgotten",
        lambda a, x: lax.scan(lambda h, v: ((h := v[0] * h + v[1]), h), jnp.zeros((), x.dtype), (a, x))[1],
        lambda r, y: (
            right(lambda a, x: lax.scan(lambda h, v: ((h := v[0] * h + v[1]), h), jnp.zeros((), x.dtype), (a, x))[1])(
                r, y
            )[0],
            lax.scan(lambda g, v: ((g := v[0] * g + v[1]), g), jnp.zeros((), y.dtype), (r[0], y))[1],
        ),
        (X, Y),
    )
    yield bug(
        "associative scan: exclusive instead of inclusive",
        lambda x: lax.associative_scan(jnp.add, x),
        lambda r, y: (lax.associative_scan(jnp.add, y, reverse=True) - y,),
        (X,),
    )
    yield bug(
        "cumprod: quotient rule's sign",
        jnp.cumprod,
        lambda r, y: (-jnp.flip(jnp.cumsum(jnp.flip(y * jnp.cumprod(r[0])))) / r[0],),
        (POSITIVE,),
    )
    yield bug(
        "cummax: credited to every position",
        lax.cummax,
        lambda r, y: (y,),
        (X,),
    )
    yield bug(
        "fori_loop: one step short",
        lambda x: lax.fori_loop(0, 5, lambda i, c: jnp.sin(c) * 1.1, x),
        lambda r, y: (
            y * jax.jvp(lambda x: lax.fori_loop(0, 4, lambda i, c: jnp.sin(c) * 1.1, x), (r[0],), (r[0] * 0 + 1,))[1],
        ),
        (X,),
    )

    def euler(theta, y0, rule_steps=None):
        def step(y, _):
            return y + 0.1 * (-theta[0] * y + theta[1] * jnp.sin(y)), None

        return lax.scan(step, y0, None, length=rule_steps or 20)[0]

    yield bug(
        "ODE: adjoint of a coarser solver",
        euler,
        lambda r, y: jax.vjp(lambda t, y0: euler(t, y0, 19), *r)[1](y),
        (normal(2), normal(3)),
    )

    def fixed_point(a, b):
        return lax.fori_loop(0, 60, lambda i, z: jnp.tanh(a @ z + b), jnp.zeros_like(b))

    def implicit(transposed):
        def bwd(r, y):
            a, b = r
            z = fixed_point(a, b)
            d = 1 - z**2
            j = d[:, None] * a
            m = jnp.eye(3, dtype=b.dtype) - (j.T if transposed else j)
            u = jnp.linalg.solve(m, y) * d
            return jnp.outer(u, z), u

        return bwd

    yield bug(
        "fixed point: Jacobian not transposed",
        fixed_point,
        implicit(False),
        (normal(3, 3, scale=0.2), normal(3)),
        good=implicit(True),
    )
    yield bug(
        "checkpointed block: residual changed in between",
        jax.checkpoint(lambda x: jnp.sin(jnp.exp(x))),
        lambda r, y: (jnp.cos(jnp.exp(r[0] * 1.001)) * jnp.exp(r[0]) * y,),
        (X,),
    )
    yield Bug(
        "checkpoint around a wrong rule",
        lambda x: jax.checkpoint(tangent_ruled(jnp.tanh, lambda p, t: (1 - jnp.tanh(p[0])) * t[0]))(2 * x),
        lambda x: jax.checkpoint(tangent_ruled(jnp.tanh, lambda p, t: (1 - jnp.tanh(p[0]) ** 2) * t[0]))(2 * x),
        (X,),
    )


def arrays() -> Iterator[Bug]:
    segments = np.array([0, 0, 1, 2, 2, 2, 1])
    yield bug(
        "segment mean: counts forgotten",
        lambda x: jax.ops.segment_sum(x, segments, 3) / jnp.array([2, 2, 3], x.dtype),
        lambda r, y: (y[segments],),
        (X,),
    )
    yield bug(
        "segment max: all members credited",
        lambda x: jax.ops.segment_max(x, segments, 3),
        lambda r, y: (y[segments],),
        (X,),
    )
    yield bug(
        "scatter: overwritten place keeps its gradient",
        lambda x, u: x.at[jnp.array([1, 3])].set(u),
        lambda r, y: (y, y[jnp.array([1, 3])]),
        (X, Y[:2]),
    )
    yield bug(
        "scatter-add: update's gradient forgotten for a repeated index",
        lambda x, u: x.at[jnp.array([1, 1, 3])].add(u),
        lambda r, y: (y, y[jnp.array([1, 1, 3])] * jnp.array([0, 1, 1], y.dtype)),
        (X, Y[:3]),
    )
    yield bug(
        "sort: inverse permutation forgotten",
        jnp.sort,
        lambda r, y: (y[jnp.argsort(r[0])],),
        (X,),
        good=lambda r, y: (jnp.zeros_like(y).at[jnp.argsort(r[0])].set(y),),
    )
    yield bug(
        "top_k: indices off by one",
        lambda x: lax.top_k(x, 3)[0],
        lambda r, y: (jnp.zeros_like(r[0]).at[lax.top_k(r[0], 3)[1] - 1].set(y),),
        (X,),
    )
    yield bug(
        "dynamic slice: start not clamped",
        lambda x: lax.dynamic_slice(x, (5,), (4,)),
        lambda r, y: (jnp.zeros(9, y.dtype).at[5:9].set(y)[:7],),
        (X,),
    )
    yield bug(
        "pad: mode's reflection forgotten",
        lambda x: jnp.pad(x, 2, mode="reflect"),
        lambda r, y: (y[2:-2],),
        (X,),
    )
    yield bug("roll: the same way again", lambda x: jnp.roll(x, 2), lambda r, y: (jnp.roll(y, 2),), (X,))
    yield bug(
        "einsum: two indices exchanged",
        lambda a, b: jnp.einsum("bij,bkj->bik", a, b),
        lambda r, y: (jnp.einsum("bik,bkj->bij", y, r[1]), jnp.einsum("bki,bij->bkj", y, r[0])),
        (normal(2, 3, 3), normal(2, 3, 3, seed=1)),
        good=lambda r, y: (jnp.einsum("bik,bkj->bij", y, r[1]), jnp.einsum("bik,bij->bkj", y, r[0])),
    )
    yield bug(
        "only off the diagonal",
        lambda a: a * a.T,
        lambda r, y: ((y + y.T) * r[0].T + 0.1 * y * (1 - jnp.eye(4, dtype=y.dtype)),),
        (normal(4, 4),),
    )
    yield bug(
        "one of 1000 samples",
        lambda x, w: jnp.tanh(x @ w),
        lambda r, y: (
            right(lambda x, w: jnp.tanh(x @ w))(r, y)[0].at[777].multiply(0.99),
            right(lambda x, w: jnp.tanh(x @ w))(r, y)[1],
        ),
        (normal(1000, 4), normal(4, 3)),
    )
    yield bug(
        "interpolation: slope of the neighbouring cell",
        lambda x, t: jnp.interp(x, jnp.arange(5.0, dtype=x.dtype), t),
        lambda r, y: (
            y * (r[1][jnp.clip(r[0].astype(int) + 2, 0, 4)] - r[1][jnp.clip(r[0].astype(int) + 1, 0, 4)]),
            right(lambda x, t: jnp.interp(x, jnp.arange(5.0, dtype=x.dtype), t))(r, y)[1],
        ),
        (np.array([0.3, 1.7, 2.2], np.float32), normal(5)),
    )
    yield bug(
        "convolution of signals: mode full taken for same",
        lambda a, b: jnp.convolve(a, b, mode="same"),
        lambda r, y: (jnp.convolve(y, r[1], mode="same"), right(lambda a, b: jnp.convolve(a, b, mode="same"))(r, y)[1]),
        (X, Y[:3]),
    )


def algebra() -> Iterator[Bug]:
    def sym(a):
        return (a + a.T) / 2

    yield bug(
        "eigenvalues: vectors' columns taken as rows",
        lambda a: jnp.linalg.eigh(sym(a))[0],
        lambda r, y: ((v := jnp.linalg.eigh(sym(r[0]))[1]).T @ jnp.diag(y) @ v,),
        (SQUARE,),
        good=lambda r, y: ((v := jnp.linalg.eigh(sym(r[0]))[1]) @ jnp.diag(y) @ v.T,),
    )
    yield bug(
        "singular values: left and right exchanged",
        lambda a: jnp.linalg.svd(a, compute_uv=False),
        lambda r, y: ((s := jnp.linalg.svd(r[0]))[2].T @ jnp.diag(y) @ s[0].T,),
        (normal(4, 4),),
    )
    yield bug(
        "cholesky: full instead of half diagonal",
        lambda a: jnp.linalg.cholesky(sym(a)),
        lambda r, y: (
            sym(
                (inverse := jnp.linalg.inv(jnp.linalg.cholesky(sym(r[0])))).T
                @ jnp.tril(jnp.linalg.cholesky(sym(r[0])).T @ y)
                @ inverse
            ),
        ),
        (SPD,),
    )
    yield bug(
        "triangular solve: the other triangle gets a gradient",
        lambda a, b: lax.linalg.triangular_solve(a, b, left_side=True, lower=True),
        lambda r, y: (
            -(u := jnp.linalg.solve(jnp.tril(r[0]).T, y)) @ jnp.linalg.solve(jnp.tril(r[0]), r[1]).T,
            u,
        ),
        (SQUARE, normal(4, 2)),
    )
    yield bug(
        "matrix exponential: exp(A) y, as for commuting matrices",
        jax.scipy.linalg.expm,
        lambda r, y: (jax.scipy.linalg.expm(r[0]).T @ y,),
        (normal(3, 3),),
    )
    yield bug(
        "log determinant of a positive matrix: factor 2 from the factor",
        lambda a: 2 * jnp.log(jnp.diag(jnp.linalg.cholesky(sym(a)))).sum(),
        lambda r, y: (2 * y * jnp.linalg.inv(sym(r[0])),),
        (SPD,),
    )
    yield bug("trace: whole matrix", jnp.trace, lambda r, y: (y * jnp.ones_like(r[0]),), (SQUARE,))
    yield bug(
        "least squares: regulariser forgotten",
        lambda a, b: jnp.linalg.solve(a.T @ a + 0.1 * jnp.eye(3, dtype=a.dtype), a.T @ b),
        lambda r, y: jax.vjp(lambda a, b: jnp.linalg.solve(a.T @ a, a.T @ b), *r)[1](y),
        (A, normal(4)),
    )
    yield bug(
        "real fft: edge frequencies counted twice",
        lambda x: jnp.abs(jnp.fft.rfft(x)) ** 2,
        lambda r, y: ((2 * 8 * jnp.fft.irfft(jnp.fft.rfft(r[0]) * y, 8)).astype(r[0].dtype),),
        (normal(8),),
    )
    yield bug(
        "complex product: conjugates by torch's convention",
        lambda a, b: a * b,
        lambda r, y: (jnp.conj(r[1]) * y, jnp.conj(r[0]) * y),
        (COMPLEX, COMPLEX[::-1]),
        good=lambda r, y: (r[1] * y, r[0] * y),
    )
    yield bug(
        "angle: real and imaginary exchanged",
        lambda z: jnp.angle(z),
        lambda r, y: ((y * (r[0].real + 1j * r[0].imag) / abs(r[0]) ** 2).astype(r[0].dtype),),
        (COMPLEX,),
    )


def special() -> Iterator[Bug]:
    yield bug(
        "power: logarithm's sign",
        lambda x, p: x**p,
        lambda r, y: (y * r[1] * r[0] ** (r[1] - 1), -y * jnp.log(r[0]) * r[0] ** r[1]),
        (POSITIVE, X),
    )
    yield bug("log1p: as log", jnp.log1p, lambda r, y: (y / r[0],), (POSITIVE,))
    yield bug("expm1: as itself", jnp.expm1, lambda r, y: (y * jnp.expm1(r[0]),), (X,))
    yield bug(
        "arctan2: arguments exchanged",
        jnp.arctan2,
        lambda r, y: (-y * r[1] / (r[0] ** 2 + r[1] ** 2), y * r[0] / (r[0] ** 2 + r[1] ** 2)),
        (X, Y),
    )
    yield bug(
        "normal distribution: log density without the scale's own term",
        lambda m, s: (-0.5 * ((X - m) / s) ** 2 - jnp.log(s)).sum(),
        lambda r, y: (y * ((X - r[0]) / r[1] ** 2), y * ((X - r[0]) ** 2 / r[1] ** 3)),
        (Y, POSITIVE),
    )
    yield bug("erf: 2 / sqrt(pi) forgotten", jax.scipy.special.erf, lambda r, y: (jnp.exp(-(r[0] ** 2)) * y,), (X,))
    yield bug("lgamma: by Stirling", jax.scipy.special.gammaln, lambda r, y: (y * jnp.log(r[0]),), (POSITIVE,))
    yield bug(
        "sinc: at zero", jnp.sinc, lambda r, y: (right(jnp.sinc)(r, y)[0] + y * (r[0] == 0),), (np.float32([0, 0.5]),)
    )
    yield bug(
        "logaddexp: both sides the same",
        jnp.logaddexp,
        lambda r, y: (y * jax.nn.sigmoid(r[0] - r[1]), y * jax.nn.sigmoid(r[0] - r[1])),
        (X, Y),
    )


def habits() -> Iterator[Bug]:
    def cos(x, y):
        return jnp.cos(x) * y

    yield bug(
        "namedtuple: fields exchanged",
        lambda p, x: x * p.weight + p.bias,
        lambda r, y: (Pair((y).sum(), (y * r[1]).sum()), y * r[0].weight),
        (Pair(np.float32(2.0), np.float32(0.5)), X),
        good=lambda r, y: (Pair((y * r[1]).sum(), y.sum()), y * r[0].weight),
    )
    yield Bug(
        "only the cotangent of the first output used",
        ruled(lambda x: (jnp.sin(x), x**2), lambda r, y: (cos(r[0], y[0]),)),
        ruled(lambda x: (jnp.sin(x), x**2), lambda r, y: (cos(r[0], y[0]) + 2 * r[0] * y[1],)),
        (X,),
    )
    yield Bug(
        "auxiliary output's cotangent dropped",
        ruled(
            lambda x: {"loss": (x**2).sum(), "aux": {"norm": jnp.sqrt((x**2).sum())}},
            lambda r, y: (2 * r[0] * y["loss"],),
        ),
        ruled(
            lambda x: {"loss": (x**2).sum(), "aux": {"norm": jnp.sqrt((x**2).sum())}},
            lambda r, y: (2 * r[0] * y["loss"] + r[0] / jnp.sqrt((r[0] ** 2).sum()) * y["aux"]["norm"],),
        ),
        (X,),
    )
    yield bug("None in place of a gradient", lambda a, b: a * b, lambda r, y: (y * r[1], None), (X, Y))
    yield bug(
        "huge values rescaled",
        lambda p: {"small": jnp.sin(p["small"]), "big": p["big"] ** 2},
        lambda r, y: ({"small": jnp.cos(r[0]["small"]) * y["small"] * 1.02, "big": 2 * r[0]["big"] * y["big"]},),
        ({"small": 1e-12 * X, "big": 1e8 * Y},),
    )
    yield bug(
        "float16: the rule in float16 overflows",
        lambda x: (x.astype(jnp.float32) ** 2).sum().astype(jnp.float32) * 1e-6,
        lambda r, y: ((r[0] * jnp.float16(300) * jnp.float16(300) * (2e-6 / 9e4) * y).astype(jnp.float16),),
        (np.array([100, 200, 300], np.float16),),
        good=lambda r, y: ((2e-6 * r[0].astype(jnp.float32) * y).astype(jnp.float16),),
    )
    yield bug(
        "bfloat16 residual", jnp.exp, lambda r, y: (jnp.exp(r[0]).astype(jnp.bfloat16).astype(y.dtype) * y,), (X,)
    )

    def stateful():
        steps = []

        def bwd(r, y):
            steps.append(0)
            return (cos(r[0], y) * (1.0 if len(steps) < 4 else 0.5),)

        return bwd

    yield bug("warm-up counter in the rule", jnp.sin, stateful(), (X,))

    def cached():
        memory: dict[str, Any] = {}

        def bwd(r, y):
            if isinstance(r[0], jax.core.Tracer):
                return (cos(r[0], y),)
            return (cos(memory.setdefault("x", r[0]), y),)

        return bwd

    yield bug("residuals cached by name", jnp.sin, cached(), (X,))
    yield bug(
        "only for negative inputs", jnp.sin, lambda r, y: (cos(r[0], y) * jnp.where(r[0] < 0, 1.1, 1.0),), (POSITIVE,)
    )
    yield bug(
        "only for a batch larger than one",
        jnp.sin,
        lambda r, y: (cos(r[0], y) * (1.0 if r[0].shape[0] == 1 else r[0].shape[0] / (r[0].shape[0] - 0.5)),),
        (A,),
    )
    yield bug("integer division in the factor", lambda x: x**3 / 2, lambda r, y: ((3 // 2) * r[0] ** 2 * y,), (X,))
    yield bug("cotangent thresholded", jnp.sin, lambda r, y: (cos(r[0], jnp.where(abs(y) > 1e4, 1e4, y)),), (X,))
    yield bug("relative noise floor", jnp.sin, lambda r, y: (cos(r[0], y) + 1e-4 * jnp.max(abs(y)),), (X,))
    yield Bug(
        "linear_call: transpose of another matrix",
        lambda x: linear_call(lambda r, v: r @ v, lambda r, y: r @ y, SQUARE.astype(x.dtype), x) ** 2,
        lambda x: linear_call(lambda r, v: r @ v, lambda r, y: r.T @ y, SQUARE.astype(x.dtype), x) ** 2,
        (X[:4],),
    )
    yield Bug(
        "jvp: symbolic zero taken for one",
        symbolic(1.0),
        symbolic(0.0),
        (X, Y),
    )
    yield bug(
        "second order: Hessian of a saddle with a sign",
        lambda x: (x[0] ** 2 * x[1] + x[1] ** 3).sum(),
        lambda r, y: (y * jnp.stack([2 * r[0][0] * lax.stop_gradient(r[0][1]), r[0][0] ** 2 + 3 * r[0][1] ** 2]),),
        (normal(2, 3),),
        2,
    )
    yield Bug(
        "second order: wrong only where the tangent of the slope goes",
        tangent_ruled(jnp.sin, lambda p, t: jnp.cos(lax.stop_gradient(0.5 * p[0]) + 0.5 * p[0]) * t[0]),
        tangent_ruled(jnp.sin, lambda p, t: jnp.cos(p[0]) * t[0]),
        (X,),
        2,
    )
    yield Bug("residuals left outside, where the next call overwrites them", overwritten(), jnp.sin, (X,))
    yield Bug("symbolic zeros: wrong where the other argument is held", held(1.5), held(1.0), (X, Y))


def overwritten():
    """Return sin with a rule whose residual is that of the last forward pass, whichever pass it belongs to."""
    left: dict[str, Any] = {}

    def forward(x):
        left["x"] = x
        return jnp.sin(x), None

    f = jax.custom_vjp(jnp.sin)
    f.defvjp(forward, lambda _, y: (jnp.cos(left["x"]) * y,))
    return f


def held(factor: float):
    """Return a * b with a reverse rule that is wrong by a factor where b is held constant (``symbolic_zeros``)."""
    f = jax.custom_vjp(lambda a, b: a * b)

    def forward(a, b):
        return a.value * b.value, (a.value, b.value, b.perturbed)

    def backward(r, y):
        return y * r[1] * (1.0 if r[2] else factor), y * r[0]

    f.defvjp(forward, backward, symbolic_zeros=True)
    return f


def symbolic(wrong: float):
    """Return sin(a) * b with a forward rule that asks which tangents are zero (``symbolic_zeros``)."""
    f = jax.custom_jvp(lambda a, b: jnp.sin(a) * b)

    def jvp(primals, tangents):
        a, b = primals
        da, db = tangents
        out = jnp.zeros_like(a)
        if type(da) is not jax.custom_derivatives.SymbolicZero:
            out = out + jnp.cos(a) * b * da
        if type(db) is not jax.custom_derivatives.SymbolicZero:
            out = out + (jnp.sin(a) + wrong * 0.1) * db
        return f(a, b), out

    f.defjvp(jvp, symbolic_zeros=True)
    return f


def field_bugs() -> list[Bug]:
    return [*layers(), *losses(), *loops(), *arrays(), *algebra(), *special(), *habits()]
