"""Networks of other libraries, their code unchanged, compute and learn the same with drop_in, to rounding."""

import os
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from cnnjax import drop_in

os.environ["KERAS_BACKEND"] = "jax"  # keras reads it when it is imported

pytestmark = pytest.mark.filterwarnings("ignore")  # what other libraries warn of
BATCH, SIZE, MAPS, CLASSES = 4, 16, 16, 5
X = np.random.default_rng(1).standard_normal((BATCH, SIZE, SIZE, MAPS))
TARGETS = np.random.default_rng(2).standard_normal((BATCH, CLASSES))
OPERATIONS = {"forward", "input_gradient", "weight_gradient", "max_pool", "max_pool_gradient"}


@pytest.fixture(autouse=True)
def as_users_have_it(float32_world):
    """Let the libraries promote and broadcast as they do."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def plain_jax(dtype):
    shapes = {"strided": (32, 16, 3, 3), "depthwise": (32, 1, 3, 3), "transposed": (8, 32, 2, 2), "dense": (8, CLASSES)}
    rng = np.random.default_rng(0)
    params = {name: rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:])) for name, shape in shapes.items()}

    def network(params, x):
        x = jnp.moveaxis(x, -1, 1)
        x = jax.nn.relu(lax.conv_general_dilated(x, params["strided"], (2, 2), "SAME"))
        x = (x - x.mean((1, 2, 3), keepdims=True)) / jnp.sqrt(x.var((1, 2, 3), keepdims=True) + 1e-5)
        x = jax.nn.relu(lax.conv_general_dilated(x, params["depthwise"], (1, 1), "SAME", feature_group_count=32))
        layout = ("NCHW", "OIHW", "NCHW")
        x = lax.conv_transpose(x, params["transposed"], (2, 2), "SAME", dimension_numbers=layout)
        x = lax.reduce_window(x, -np.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
        return x.mean((2, 3)) @ params["dense"]

    return params, network


def flax_nnx(dtype):
    from flax import nnx

    class Network(nnx.Module):
        def __init__(self, rngs):
            self.strided = nnx.Conv(MAPS, 32, (3, 3), strides=2, rngs=rngs)
            self.norm = nnx.LayerNorm(32, rngs=rngs)
            self.depthwise = nnx.Conv(32, 32, (3, 3), feature_group_count=32, rngs=rngs)
            self.transposed = nnx.ConvTranspose(32, 8, (2, 2), strides=2, rngs=rngs)
            self.dense = nnx.Linear(8, CLASSES, rngs=rngs)

        def __call__(self, x):
            x = nnx.relu(self.norm(self.strided(x)))
            x = self.transposed(nnx.relu(self.depthwise(x)))
            return self.dense(nnx.max_pool(x, (2, 2), (2, 2)).mean((1, 2)))

    graph, params = nnx.split(Network(nnx.Rngs(0)))
    return params, lambda params, x: nnx.merge(graph, params)(x)


def flax_linen(dtype):
    from flax import linen

    class Network(linen.Module):
        @linen.compact
        def __call__(self, x):
            x = linen.relu(linen.LayerNorm()(linen.Conv(32, (3, 3), 2)(x)))
            x = linen.relu(linen.Conv(32, (3, 3), feature_group_count=32)(x))
            x = linen.max_pool(linen.ConvTranspose(8, (2, 2), (2, 2))(x), (2, 2), (2, 2))
            return linen.Dense(CLASSES)(x.mean((1, 2)))

    network = Network()
    return network.init(jax.random.key(0), jnp.ones((1, SIZE, SIZE, MAPS))), network.apply


def equinox(dtype):
    import equinox as eqx

    keys = jax.random.split(jax.random.key(0), 4)
    network = eqx.nn.Sequential(
        [
            eqx.nn.Conv2d(MAPS, 32, 3, stride=2, padding=1, key=keys[0]),
            eqx.nn.GroupNorm(4, 32),
            eqx.nn.Lambda(jax.nn.relu),
            eqx.nn.Conv2d(32, 32, 3, padding=1, groups=8, key=keys[1]),
            eqx.nn.Lambda(jax.nn.relu),
            eqx.nn.ConvTranspose2d(32, 8, 2, stride=2, key=keys[2]),
            eqx.nn.MaxPool2d(2, 2),
            eqx.nn.Lambda(lambda x: x.mean((1, 2))),
            eqx.nn.Linear(8, CLASSES, key=keys[3]),
        ]
    )
    params, static = eqx.partition(network, eqx.is_array)
    return params, lambda params, x: jax.vmap(eqx.combine(params, static))(jnp.moveaxis(x, -1, 1))


def haiku(dtype):
    import haiku as hk

    def network(x):
        x = hk.Conv2D(32, 3, stride=2)(x)
        x = jax.nn.relu(hk.LayerNorm(-1, create_scale=True, create_offset=True)(x))
        x = jax.nn.relu(hk.DepthwiseConv2D(1, 3)(x))
        x = hk.max_pool(hk.Conv2DTranspose(8, 2, stride=2)(x), (2, 2, 1), (2, 2, 1), "VALID")
        return hk.Linear(CLASSES)(x.mean((1, 2)))

    transformed = hk.without_apply_rng(hk.transform(network))
    return transformed.init(jax.random.key(0), jnp.ones((1, SIZE, SIZE, MAPS))), transformed.apply


def keras(dtype):
    import keras

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.layers.Input((SIZE, SIZE, MAPS), dtype=dtype),
            keras.layers.Conv2D(32, 3, 2, padding="same", dtype=dtype),
            keras.layers.LayerNormalization(dtype=dtype),
            keras.layers.ReLU(dtype=dtype),
            keras.layers.DepthwiseConv2D(3, padding="same", activation="relu", dtype=dtype),
            keras.layers.Conv2DTranspose(8, 2, 2, dtype=dtype),
            keras.layers.MaxPooling2D(2, dtype=dtype),
            keras.layers.GlobalAveragePooling2D(dtype=dtype),
            keras.layers.Dense(CLASSES, dtype=dtype),
        ]
    )
    params = [variable.value for variable in model.trainable_variables]
    return params, lambda params, x: model.stateless_call(params, [], x)[0]


LIBRARIES = {
    "jax": plain_jax,
    "flax.nnx": flax_nnx,
    "flax.linen": flax_linen,
    "equinox": equinox,
    "haiku": haiku,
    "keras": keras,
}


def built(library, dtype):
    """The parameters of a network of the library, and a compiled step of its training."""
    pytest.importorskip(library)
    optax = pytest.importorskip("optax")
    params, network = LIBRARIES[library](dtype)
    optimizer = optax.sgd(0.1, momentum=0.9)

    def loss(params, x):
        outputs = network(params, x)
        return jnp.mean((outputs - TARGETS.astype(outputs.dtype)) ** 2), outputs

    @jax.jit
    def step(params, state, x):
        gradients, outputs = jax.grad(loss, has_aux=True)(params, x)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, outputs, gradients

    def train(params):
        """Two steps: the parameters, state, outputs and gradients after each."""
        params = jax.tree.map(lambda a: jnp.asarray(a, dtype), params)
        first = step(params, optimizer.init(params), jnp.asarray(X, dtype))
        return first, step(*first[:2], jnp.asarray(X, dtype))

    return params, train


def programs():
    return Counter({row.call: row.programs for row in drop_in.report().rows})


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_network_computes_and_learns_the_same(library):
    """It is no farther from the same network in float64 than without drop_in, but for the order of sums."""
    params, train = built(library, "float32")
    without, before = train(params), programs()
    with drop_in.enabled():
        found = train(params)
    calls = programs() - before
    assert {call.operation for call in calls} == OPERATIONS
    assert [call for call in calls if not call.taken_over] == []

    with jax.enable_x64(True):
        exact = built(library, "float64")[1](params)
    # The sum of n numbers is about sqrt(n) roundings away from another order's; a bias is summed over all pixels.
    roundings = np.sqrt(X[..., 0].size) * np.finfo("float32").eps / 2
    for expected, own, array in zip(*map(jax.tree.leaves, (exact, without, found)), strict=True):
        distance = lambda a, expected=expected: np.linalg.norm(np.float64(a) - expected)  # noqa: E731
        assert distance(array) <= 2 * distance(own) + roundings * np.linalg.norm(expected)

    for own, array in zip(*map(jax.tree.leaves, (without, train(params))), strict=True):
        np.testing.assert_array_equal(array, own)
