"""What holds for every layer: shapes, counts and parameters agree, and connections are those of the Jacobian."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import normal

from cnnjax import connections as tables
from cnnjax.init import Constant, GlorotUniform, HeNormal, LeCunUniform
from cnnjax.layers import (
    RBF,
    Activation,
    AdaptiveAvgPool2D,
    AvgPool2D,
    BatchNorm,
    ChannelShuffle,
    Conv2D,
    Counts,
    Dense,
    Dropout,
    Flatten,
    GroupNorm,
    Layer,
    LayerNorm,
    LayerScale,
    LocalResponseNorm,
    MaxPool2D,
    PixelDense,
    PReLU,
    SelectMaps,
    StochasticDepth,
    Subsample2D,
)

KEY = jax.random.key(0)

CODES = ((1, -1, 1), (-1, 1, 1))

LAYERS = {
    "conv": (Conv2D(4, 3, activation="tanh", bias_init=LeCunUniform()), (6, 7, 2), (4, 5, 4)),
    "conv, no bias": (Conv2D(4, (3, 2), stride=(2, 1), padding="SAME", bias=False), (6, 7, 2), (3, 7, 4)),
    "conv, groups": (Conv2D(6, 3, groups=2, dilation=2, padding=2), (6, 7, 4), (6, 7, 6)),
    "conv, table": (Conv2D(3, 2, connections=tables.from_rows([[0], [], [0, 1]], 2)), (3, 3, 2), (2, 2, 3)),
    "max": (MaxPool2D(2, activation="tanh"), (6, 7, 2), (3, 3, 2)),
    "avg": (AvgPool2D((3, 2), stride=2, padding="SAME"), (6, 7, 2), (3, 4, 2)),
    "subsample": (Subsample2D(2, activation="scaled_tanh", bias_init=LeCunUniform()), (6, 7, 2), (3, 3, 2)),
    "dense on a volume": (Dense(5, activation=jnp.sin), (2, 3, 4), (5,)),
    "dense, no bias": (Dense(5, bias=False), (4,), (5,)),
    "dense on pixels": (PixelDense(5, activation="tanh"), (2, 3, 4), (2, 3, 5)),
    "adaptive avg": (AdaptiveAvgPool2D((2, 3)), (5, 3, 2), (2, 3, 2)),
    "global avg": (AdaptiveAvgPool2D(), (4, 6, 2), (1, 1, 2)),
    "rbf": (RBF(CODES), (3,), (2,)),
    "rbf, trainable, on a volume": (RBF(CODES, trainable=True), (1, 1, 3), (2,)),
}

# Layers whose units count no connections.
PER_MAP = {
    "batch norm": (BatchNorm(activation="relu"), (4, 3, 2), (4, 3, 2)),
    "batch norm of units": (BatchNorm(), (5,), (5,)),
    "group norm": (GroupNorm(groups=2), (4, 3, 6), (4, 3, 6)),
    "layer norm": (LayerNorm(), (4, 3, 6), (4, 3, 6)),
    "local response norm": (LocalResponseNorm(), (4, 3, 6), (4, 3, 6)),
    "layer scale": (LayerScale(), (4, 3, 6), (4, 3, 6)),
    "prelu": (PReLU(), (4, 3, 6), (4, 3, 6)),
    "select": (SelectMaps(1, 4), (4, 3, 6), (4, 3, 3)),
    "shuffle": (ChannelShuffle(3), (4, 3, 6), (4, 3, 6)),
    "flatten": (Flatten(), (4, 3, 6), (72,)),
    "activation": (Activation("relu6"), (4,), (4,)),
    "dropout": (Dropout(0.3), (4, 3, 6), (4, 3, 6)),
    "stochastic depth": (StochasticDepth(0.3), (4, 3, 6), (4, 3, 6)),
}

each_layer = pytest.mark.parametrize(("layer", "shape", "output"), LAYERS.values(), ids=LAYERS)


@pytest.mark.parametrize(("layer", "shape", "output"), [*LAYERS.values(), *PER_MAP.values()], ids=[*LAYERS, *PER_MAP])
def test_shapes_counts_and_parameters_of_a_layer_agree(layer, shape, output):
    assert isinstance(layer, Layer)
    assert layer.output_shape(shape) == output
    params = layer.init(KEY, shape, jnp.float32)
    y = jax.eval_shape(layer.apply, params, jnp.zeros((3, *shape), jnp.float32))
    assert y.shape == (3, *output)
    assert y.dtype == jnp.float32
    assert all(value.dtype == jnp.float32 for value in params.values())
    counts = layer.counts(shape)
    assert {key: value.shape for key, value in params.items()} == layer.parameter_shapes(shape)
    stored = sum(value.size for key, value in params.items() if key in ("w", "b"))
    table = getattr(layer, "connections", None)
    unused = 0 if table is None else (table.matrix.size - table.num_links) * 4
    assert counts.num_parameters == stored - unused
    assert hash(layer) == hash(type(layer)(**vars(layer)))
    assert layer == type(layer)(**vars(layer))


@each_layer
def test_the_connections_of_a_layer_are_the_ones_of_its_jacobian(layer, shape, output):
    """A connection is one input of one unit, its bias included; it is there when moving the input moves the unit."""
    like = jax.eval_shape(lambda: layer.init(KEY, shape, jnp.float64))
    params = {key: np.abs(normal(value.shape, "jacobian " + key)) + 0.5 for key, value in like.items()}
    if "b" in params:
        params["b"] = jnp.zeros_like(params["b"])
    if isinstance(layer, MaxPool2D | AvgPool2D):
        x = jnp.ones((1, *shape))  # where all values of a window are equal, the maximum depends on all of them
    else:
        x = jnp.asarray(np.abs(normal((1, *shape), "jacobian")) * 0.3 + 0.05)
    jacobian = jax.jit(jax.jacrev(lambda x: layer.apply(params, x)[0]))(x)
    felt = int(np.count_nonzero(jacobian))
    biases = int(np.prod(output)) if "b" in params else 0
    counted = layer.counts(shape).num_connections
    padded = getattr(layer, "padding", "VALID") != "VALID"
    assert counted >= felt + biases if padded else counted == felt + biases  # beyond the edge there is nothing to move


def test_counts_of_layers_in_the_literature():
    assert Conv2D(96, 11, stride=4).counts((227, 227, 3)).num_parameters == 34_944
    assert Conv2D(96, 11, stride=4).counts((227, 227, 3)).num_macs == 290_400 * 363
    assert Conv2D(32, 3).counts((28, 28, 1)).num_parameters == 320
    assert Conv2D(64, 3).counts((26, 26, 32)).num_parameters == 18_496
    assert Conv2D(256, 5, groups=2).counts((27, 27, 96)).num_parameters == 307_456
    assert Conv2D(16, 5).counts((14, 14, 6)) == Counts(2400, 16, 241_600, 240_000)
    assert Dense(4096).counts((7, 7, 512)).num_weights == 102_760_448
    assert MaxPool2D(2).counts((4, 4, 3)) == Counts(num_connections=48)


@pytest.mark.parametrize(
    "layer",
    [
        Conv2D(2, 3, weight_init=HeNormal()),
        Dense(3, weight_init=Constant(2.0)),
        Conv2D(2, 3, weight_init=GlorotUniform()),
    ],
)
def test_a_layer_draws_its_weights_by_its_own_rule(layer):
    params = layer.init(KEY, (5, 5, 2), jnp.float64)
    fan_in = 18 if isinstance(layer, Conv2D) else 50
    fan_out = 18 if isinstance(layer, Conv2D) else 3
    key = jax.random.split(KEY)[0]
    np.testing.assert_array_equal(params["w"], layer.weight_init(key, params["w"].shape, fan_in, fan_out, jnp.float64))
    np.testing.assert_array_equal(params["b"], np.zeros(params["b"].shape))
