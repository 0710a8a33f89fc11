"""The curvature is the paper's, the Gauss-Newton diagonal where the two agree, and the optimizer divides by it."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import cnnjax
from cnnjax.init import LeCunUniform
from cnnjax.layers import RBF, AvgPool2D, Conv2D, Counts, Dense, Input, MaxPool2D, Network, Subsample2D
from cnnjax.losses import map_loss, mle_loss
from cnnjax.training.levenberg_marquardt import curvature, levenberg_marquardt, scale_by_curvature, with_curvature

TANH = {"activation": "scaled_tanh", "weight_init": LeCunUniform(), "bias_init": LeCunUniform()}
CODES = RBF(tuple(map(tuple, np.random.default_rng(0).choice([-1, 1], (3, 5)).tolist())))


@pytest.fixture(autouse=True)
def promotion_as_optax_needs_it():
    """Optax multiplies weak floats with integer step counts, which strict promotion refuses."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def cross_entropy(scores, labels):
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(scores, labels))


def made(*layers, shape=(8, 8, 2), images=4):
    """A network of these layers, with parameters, images and labels in float64."""
    network = Network("small", Input(shape), [(f"layer{i}", layer) for i, layer in enumerate(layers)])
    params = network.init(jax.random.key(0), jnp.float64)
    x = jax.random.normal(jax.random.key(1), (images, *shape), jnp.float64)
    return network, params, x, jnp.arange(images) % 3


def gauss_newton(network, loss, params, x, labels):
    """The diagonal of mean_n J_n' H_n J_n, every matrix written out; H is that of the loss by what distances read."""
    *body, (_, last) = network.layers
    outputs, head = network, lambda z: z
    if network.smallest_wins:
        outputs, head = dataclasses.replace(network, layers=tuple(body)), lambda z: last.apply({}, z)
    flat, whole = jax.flatten_util.ravel_pytree(params)

    def of_one(image, label):
        f = lambda v: outputs.apply(whole(v), image[None]).ravel()  # noqa: E731
        jacobian = jax.jacobian(f)(flat)
        hessian = jax.hessian(lambda z: loss(head(z[None]), label[None]))(f(flat))
        return jnp.diagonal(jacobian.T @ hessian @ jacobian)

    return whole(jax.jit(jax.vmap(of_one))(x, labels).mean(0))


def curved(case, loss):
    """The curvature, compiled in one piece."""
    network, params, x, labels = case
    return jax.jit(lambda params, x, labels: curvature(network, loss, params, x, labels))(params, x, labels)


def close(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), found, expected)


@pytest.mark.parametrize(
    ("layers", "loss"),
    [
        ([Dense(5, **TANH), CODES], mle_loss),
        ([Dense(5, **TANH), CODES], map_loss),
        ([Dense(3)], cross_entropy),
        ([MaxPool2D(2), Dense(3, activation="sigmoid")], cross_entropy),
        # C1 with one position, then one unit for each map: nothing is shared, and there is one path.
        ([Conv2D(5, 8, **TANH), Subsample2D(1, **TANH), CODES], map_loss),
    ],
)
def test_it_is_the_gauss_newton_diagonal_without_sharing_and_with_one_path(layers, loss):
    case = network, *rest = made(*layers)
    close(curved(case, loss), gauss_newton(network, loss, *rest))


@dataclasses.dataclass(frozen=True)
class Distances:
    """A last layer of somebody else's, whose smallest output names the class: sums of fourth powers."""

    smallest_wins = True

    def init(self, key, shape, dtype):
        return {}

    def apply(self, params, x):
        return jnp.sum((x[:, None] - jnp.asarray(CODES.codes, x.dtype)[None]) ** 4, axis=-1)

    def output_shape(self, shape):
        return (len(CODES.codes),)

    def counts(self, shape):
        return Counts()

    def geometry(self, shape):
        return None


@pytest.mark.parametrize("loss", [mle_loss, map_loss])
def test_any_last_layer_whose_smallest_output_wins_is_differentiated_through(loss):
    case = network, *rest = made(Dense(5, **TANH), Distances())
    close(curved(case, loss), gauss_newton(network, loss, *rest))


def test_what_is_shared_is_summed_over_its_connections():
    """A convolution is a locally connected layer whose kernels are equal: the sum of their Gauss-Newton diagonals."""
    codes = RBF(tuple(map(tuple, np.random.default_rng(1).choice([-1, 1], (3, 9 * 2)).tolist())))
    case = made(Conv2D(2, 3, **TANH), codes, shape=(5, 5, 2))
    _, params, x, _ = case
    local = jnp.broadcast_to(params["layer0"]["w"], (3, 3, 3, 3, 2, 2))
    bias = jnp.broadcast_to(params["layer0"]["b"], (3, 3, 2))

    flat, whole = jax.flatten_util.ravel_pytree({"w": local, "b": bias})

    def of_one(image):
        def outputs(v):
            return cnnjax.scaled_tanh(cnnjax.local_conv2d(image[None], whole(v)["w"]) + whole(v)["b"][None]).ravel()

        jacobian = jax.jacobian(outputs)(flat)
        return jnp.diagonal(2 * jacobian.T @ jacobian)

    unshared = whole(jax.jit(jax.vmap(of_one))(x).mean(0))
    expected = {"w": unshared["w"].sum((0, 1)), "b": unshared["b"].sum((0, 1))}
    close(curved(case, mle_loss), {"layer0": expected})


def written_out(network, params, x, top):
    """Equations 24 to 27 with every connection a number, for a network whose layers have activations."""
    found, above = {}, np.asarray(top)
    volumes = list(network.volumes(params, x).values())
    for (name, layer), read in reversed(list(zip(network.layers, volumes, strict=False))):
        linear = dataclasses.replace(layer, activation="identity")
        own = params.get(name, {})
        f = cnnjax.ACTIVATIONS[layer.activation]

        def derivatives(image, linear=linear, own=own, f=f):
            apply = lambda image: linear.apply(own, image[None])[0]  # noqa: E731
            a = apply(image)
            return jax.vmap(jax.grad(f))(a.ravel()).reshape(a.shape), jax.jacobian(apply)(image)

        slope, matrix = map(np.asarray, jax.jit(jax.vmap(derivatives))(read))
        above = above * slope**2
        if isinstance(layer, Subsample2D):
            h = {key: np.zeros(read.shape[-1]) for key in "wb"}
            for n, i, j, c in itertools.product(*map(range, slope.shape)):
                window = np.asarray(read[n, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2, c])
                h["w"][c] += above[n, i, j, c] * (window**2).sum()
                h["b"][c] += above[n, i, j, c]
            found[name] = h
        elif isinstance(layer, Conv2D):
            h = {key: np.zeros(own[key].shape) for key in "wb"}
            for n, i, j, o in itertools.product(*map(range, slope.shape)):
                window = np.asarray(read[n, i : i + layer.kernel, j : j + layer.kernel])
                h["w"][..., o] += above[n, i, j, o] * window**2 * layer.table(read.shape[1:]).matrix[:, o]
                h["b"][o] += above[n, i, j, o]
            found[name] = h
        elif isinstance(layer, Dense):
            inputs = np.asarray(read).reshape(len(read), -1)
            found[name] = {"w": (inputs**2).T @ above, "b": above.sum(0)}
        weights = matrix.reshape(len(read), slope[0].size, -1)
        above = np.einsum("nij,ni->nj", weights**2, above.reshape(len(read), -1)).reshape(read.shape)
    return found


@pytest.mark.parametrize(
    "pool",
    [
        Subsample2D(2, **TANH),
        MaxPool2D(2),
        AvgPool2D(2),
        AvgPool2D(3, padding="SAME"),
        AvgPool2D(3, padding="SAME", count_include_pad=True),
        AvgPool2D(3, stride=2, ceil_mode=True),
    ],
)
def test_it_is_propagated_back_as_the_paper_says(pool):
    table = cnnjax.connections.from_rows([[0, 1], [1], [0, 1]], 2)
    case = made(
        Conv2D(2, 3, **TANH),
        pool,
        Conv2D(3, 2, connections=table, **TANH),
        Dense(5, **TANH),
        CODES,
    )
    network, params, x, _ = case
    body = dataclasses.replace(network, layers=network.layers[:-1])
    expected = written_out(body, params, x, np.full((len(x), 5), 2 / len(x)))
    found = curved(case, mle_loss)
    close(found, {name: expected[name] for name in found})
    assert (np.asarray(found["layer2"]["w"])[..., ~table.matrix] == 0).all()


def test_trained_codes_have_one_too():
    case = made(Dense(5, **TANH), RBF(CODES.codes, trainable=True))
    *_, labels = case
    h = curved(case, mle_loss)["layer1"]["w"]
    share = np.bincount(np.asarray(labels), minlength=3) / len(labels)
    np.testing.assert_allclose(h, np.broadcast_to(2 * share[:, None], (3, 5)))


def test_each_gradient_is_divided_by_damping_plus_curvature():
    params = {"w": jnp.array([1.0, 2.0]), "b": jnp.array(3.0)}
    optimizer = levenberg_marquardt(lambda step: 0.25 / (1 + step), damping=0.02)
    state = optimizer.init(params)
    updates, state = optimizer.update(params, state)
    close(updates, jax.tree.map(lambda g: -0.25 * g / 0.02, params))
    state = with_curvature(state, {"w": jnp.array([0.0, 0.98]), "b": jnp.array(1.98)})
    updates, state = optimizer.update(params, state, params)
    close(updates, {"w": jnp.array([-0.125 / 0.02, -0.125 * 2.0]), "b": jnp.array(-0.125 * 1.5)})


def test_it_chains_and_runs_under_jit():
    optimizer = optax.chain(optax.clip(1.0), scale_by_curvature(damping=1.0), optax.scale(-1.0))
    params = jnp.array([4.0, 0.5])
    state = with_curvature(optimizer.init(params), jnp.array([1.0, 0.0]))
    updates, _ = jax.jit(optimizer.update)(params, state)
    np.testing.assert_allclose(updates, [-0.5, -0.5])


@pytest.mark.parametrize("damping", [0, -0.02, "small", float("nan")])
def test_a_damping_that_is_not_positive_is_named(damping):
    with pytest.raises(ValueError, match=r"`damping` is .*; expected a positive number. Fix: use damping=0.02"):
        levenberg_marquardt(0.1, damping=damping)


def test_a_network_with_branches_is_refused():
    network = Network("branched", Input((1, 1, 2)), [("a", Dense(2)), ("b", Dense(2), "input")])
    params = network.init(jax.random.key(0))
    with pytest.raises(TypeError, match="curvature: `b` is reading input; expected layers that read the volume before"):
        curvature(network, cross_entropy, params, jnp.zeros((1, 1, 1, 2), jnp.float32), jnp.array([0]))


def test_a_layer_without_a_rule_is_named():
    case = made(CODES, Dense(3), shape=(1, 1, 5))
    with pytest.raises(TypeError, match=r"`layer0` is .*expected a layer of cnnjax.layers, with RBF units only at"):
        curved(case, cross_entropy)
