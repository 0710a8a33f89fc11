"""Layers and small networks of flax, haiku and equinox, parameters and inputs together."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from case import Case, f32, normal

KEY = jax.random.key(0)


def flax_cases() -> Iterator[Case]:
    import flax.linen as nn
    from flax import nnx

    def case(name, f, *args, **more):
        return Case("flax", name, f, args, **more)

    def linen(name, module, *inputs, in_float64=None):
        variables = jax.tree.map(np.asarray, module.init(KEY, *inputs))
        return case(name, module.apply, variables, *inputs, in_float64=in_float64 and in_float64.apply)

    sequence, image = normal(100, 2, 5, 4), normal(101, 2, 6, 6, 3)
    yield linen("Dense and gelu", nn.Sequential([nn.Dense(5), nn.gelu, nn.Dense(2)]), normal(102, 3, 4))
    yield linen("Conv with strides and dilation", nn.Conv(4, (3, 3), 2, kernel_dilation=2), image)
    yield linen("ConvTranspose", nn.ConvTranspose(2, (3, 3), (2, 2)), image)
    yield linen("BatchNorm, running averages", nn.BatchNorm(use_running_average=True), image)
    yield linen("GroupNorm", nn.GroupNorm(2), normal(103, 2, 3, 4))
    yield linen("RMSNorm and SelfAttention", nn.Sequential([nn.RMSNorm(), nn.SelfAttention(2)]), sequence)
    attend = nn.MultiHeadDotProductAttention(2)
    mask = nn.make_causal_mask(np.ones((2, 5)))
    variables = attend.init(KEY, sequence, sequence, mask=mask)
    yield case("attention with a causal mask", lambda v, x: attend.apply(v, x, x, mask=mask), variables, sequence)
    yield linen(
        "LSTM over a sequence",
        nn.RNN(nn.OptimizedLSTMCell(3)),
        sequence,
        in_float64=nn.RNN(nn.OptimizedLSTMCell(3, param_dtype=np.float64)),
    )
    yield linen(
        "GRU over a sequence", nn.RNN(nn.GRUCell(3)), sequence, in_float64=nn.RNN(nn.GRUCell(3, param_dtype=np.float64))
    )
    yield linen("ConvLocal", nn.ConvLocal(2, (3,)), normal(104, 2, 6, 3))
    yield linen("WeightNorm of Dense", nn.WeightNorm(nn.Dense(3)), normal(105, 3, 4))
    yield linen("PReLU with an input of zero", nn.PReLU(), f32(0.0, -1.2, 2.0))
    yield case(
        "max pool and relu of a convolution",
        lambda x, k: nn.max_pool(
            nn.relu(jax.lax.conv_general_dilated(x, k, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))),
            (2, 2),
            (2, 2),
        ),
        image,
        normal(106, 3, 3, 3, 4),
    )
    embed = nn.Embed(6, 3)
    yield case("Embed, repeated tokens", lambda v: embed.apply(v, np.array([1, 1, 4])), embed.init(KEY, np.array([1])))
    graph, params = nnx.split(
        nnx.Sequential(nnx.Conv(3, 4, (3, 3), rngs=nnx.Rngs(0)), nnx.relu, nnx.GroupNorm(4, 2, rngs=nnx.Rngs(1)))
    )
    yield case("nnx convolution, relu, GroupNorm", lambda p, x: nnx.merge(graph, p)(x), params, image)


def haiku_cases() -> Iterator[Case]:
    import haiku as hk

    def case(name, build, *inputs):
        network = hk.without_apply_rng(hk.transform(build))
        params = jax.tree.map(np.asarray, network.init(KEY, *inputs))
        return Case("haiku", name, network.apply, (params, *inputs))

    sequence, image = normal(110, 5, 2, 4), normal(111, 2, 6, 6, 3)
    yield case("MLP", lambda x: hk.nets.MLP([5, 2], activation=jnp.tanh)(x), normal(112, 3, 4))
    yield case("Conv2D", lambda x: hk.Conv2D(4, 3, stride=2)(x), image)
    yield case("DepthwiseConv2D", lambda x: hk.DepthwiseConv2D(2, 3)(x), image)
    yield case("LayerNorm", lambda x: hk.LayerNorm(-1, True, True)(x), normal(113, 3, 4))
    yield case("InstanceNorm", lambda x: hk.InstanceNorm(True, True)(x), image)
    yield case("LSTM, unrolled", lambda x: hk.dynamic_unroll(hk.LSTM(3), x, hk.LSTM(3).initial_state(2))[0], sequence)
    yield case("GRU, unrolled", lambda x: hk.dynamic_unroll(hk.GRU(3), x, hk.GRU(3).initial_state(2))[0], sequence)
    yield case(
        "MultiHeadAttention", lambda x: hk.MultiHeadAttention(2, 3, w_init_scale=1.0)(x, x, x), normal(114, 2, 4, 6)
    )
    yield case("avg_pool and max_pool", lambda x: hk.max_pool(hk.avg_pool(x, 2, 1, "SAME"), 2, 2, "VALID"), image)
    batch_norm = hk.transform_with_state(lambda x: hk.BatchNorm(True, True, 0.9)(x, is_training=True))
    params, state = batch_norm.init(KEY, image)
    yield Case("haiku", "BatchNorm in training", lambda p, x: batch_norm.apply(p, state, None, x)[0], (params, image))
    spectral = hk.transform_with_state(lambda w: hk.SpectralNorm()(w))
    _, power = spectral.init(KEY, normal(117, 4, 3))
    yield Case(
        "haiku",
        "SpectralNorm of a matrix, statistics held",
        lambda w: spectral.apply({}, power, None, w)[0],
        (normal(117, 4, 3),),
    )
    yield case("SeparableDepthwiseConv2D", lambda x: hk.SeparableDepthwiseConv2D(1, 3)(x), image)


def equinox_cases() -> Iterator[Case]:
    import equinox as eqx
    from equinox import nn

    def case(name, f, *args, **more):
        return Case("equinox", name, f, args, **more)

    image, vector = normal(120, 3, 6, 6), normal(121, 4)
    yield case("Linear", lambda m, x: m(x), nn.Linear(4, 3, key=KEY), vector)
    yield case("MLP with silu", lambda m, x: m(x), nn.MLP(4, 2, 5, 2, jax.nn.silu, key=KEY), vector)
    yield case("Conv2d, grouped", lambda m, x: m(x), nn.Conv2d(3, 6, 3, groups=3, key=KEY), image)
    yield case("ConvTranspose2d", lambda m, x: m(x), nn.ConvTranspose2d(3, 2, 3, stride=2, key=KEY), image)
    yield case("LayerNorm", lambda m, x: m(x), nn.LayerNorm(4), vector)
    yield case("GroupNorm", lambda m, x: m(x), nn.GroupNorm(2, 4), normal(122, 4, 3, 3))
    yield case("RMSNorm", lambda m, x: m(x), nn.RMSNorm(4), vector)
    yield case(
        "GRUCell over a scan",
        lambda m, x: jax.lax.scan(lambda h, u: (m(u, h), h), jnp.zeros(3), x),
        nn.GRUCell(4, 3, key=KEY),
        normal(123, 5, 4),
    )
    yield case(
        "LSTMCell", lambda m, x, h: m(x, h), nn.LSTMCell(4, 3, key=KEY), vector, (normal(124, 3), normal(125, 3))
    )
    yield case("PReLU", lambda m, x: m(x), nn.PReLU(0.3), vector)
    yield case("MaxPool2d with ties", lambda m, x: m(x), nn.MaxPool2d(2, 2), np.round(image))
    yield case("AdaptiveAvgPool2d", lambda m, x: m(x), nn.AdaptiveAvgPool2d(4), image)
    yield case("RotaryPositionalEmbedding", lambda m, x: m(x), nn.RotaryPositionalEmbedding(4), normal(126, 5, 4))
    yield case("Embedding", lambda m: jax.vmap(m)(np.array([1, 1, 3])), nn.Embedding(5, 3, key=KEY))
    norm, state = nn.make_with_state(nn.BatchNorm)(3, "batch", mode="ema", momentum=0.9)

    def batch_norm(dtype):
        def f(m, x):
            here = jax.tree.map(lambda a: a.astype(dtype) if eqx.is_inexact_array(a) else a, state)
            return jax.vmap(m, (0, None), (0, None), axis_name="batch")(x, here)[0]

        return f

    yield case(
        "BatchNorm under vmap",
        batch_norm(np.float32),
        norm,
        normal(127, 4, 3),
        in_float64=batch_norm(np.float64),
    )
    spectral, spectral_state = nn.make_with_state(nn.SpectralNorm)(nn.Linear(4, 3, key=KEY), "weight", key=KEY)
    yield case("SpectralNorm, inference", lambda m, x: eqx.nn.inference_mode(m)(x, spectral_state)[0], spectral, vector)
    yield case("dropout in inference", lambda m, x: m(x, inference=True), nn.Dropout(0.5), vector)
    yield case(
        "filter_checkpoint of an MLP", lambda m, x: eqx.filter_checkpoint(m)(x), nn.MLP(4, 2, 5, 2, key=KEY), vector
    )
