"""Networks: volumes, parameters, evaluation, training, and errors for what does not fit."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import normal, parameters_of

import cnnjax
from cnnjax import Input, Network
from cnnjax import connections as tables
from cnnjax.errors import ArgumentTypeError, ArgumentValueError
from cnnjax.layers import RBF, Add, BatchNorm, Concatenate, Conv2D, Dense, Dropout, MaxPool2D

KEY = jax.random.key(0)

CODES = ((1, -1, 1), (-1, 1, 1))


SMALL = Network(
    "small",
    Input((8, 7, 1)),
    (
        ("c1", Conv2D(3, 3, activation="tanh")),
        ("s2", MaxPool2D(2)),
        ("c3", Conv2D(4, 2, connections=tables.from_rows([[0], [1, 2], [0, 2], []], 3), activation="tanh")),
        ("out", Dense(5)),
    ),
)

PARAMS = SMALL.init(KEY)


def test_a_network_knows_the_shape_of_every_volume():
    assert SMALL.shapes() == {"input": (8, 7, 1), "c1": (6, 5, 3), "s2": (3, 2, 3), "c3": (2, 1, 4), "out": (5,)}
    assert SMALL.input_shapes() == {"c1": (8, 7, 1), "s2": (6, 5, 3), "c3": (3, 2, 3), "out": (2, 1, 4)}
    params = parameters_of(SMALL)
    volumes = SMALL.volumes(params, jnp.zeros((2, 8, 7, 1)))
    assert {name: volume.shape[1:] for name, volume in volumes.items()} == SMALL.shapes()
    assert list(volumes) == list(SMALL.shapes())


def test_parameters_are_a_plain_pytree_with_readable_keys():
    params = PARAMS
    paths = {jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)}
    assert paths == {f"['{layer}']['{key}']" for layer in ("c1", "c3", "out") for key in "wb"}
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
    again, other = SMALL.init(KEY), SMALL.init(jax.random.key(1))
    halves = jax.eval_shape(lambda: SMALL.init(KEY, jnp.bfloat16))
    assert all(leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves(halves))
    assert jax.tree.all(jax.tree.map(np.array_equal, params, again))
    assert not np.array_equal(params["c1"]["w"], other["c1"]["w"])


def test_applying_a_network_is_applying_its_layers_one_after_the_other():
    params, x = parameters_of(SMALL), normal((3, 8, 7, 1), "images")
    y = jnp.asarray(x)
    for name, layer in SMALL.layers:
        y = layer.apply(params.get(name, {}), y)
    np.testing.assert_array_equal(SMALL.apply(params, x), y)
    np.testing.assert_array_equal(SMALL.volumes(params, x)["out"], y)
    for volume, one in zip(SMALL.volumes(params, x).values(), SMALL.volumes(params, x[1]).values(), strict=True):
        np.testing.assert_allclose(one, volume[1], rtol=1e-12, atol=1e-14)


def test_a_batch_is_its_images_one_by_one_is_jit_is_vmap():
    params, x = parameters_of(SMALL), normal((3, 8, 7, 1), "images")
    scores = SMALL.apply(params, x)
    close = {"rtol": 1e-12, "atol": 1e-14}
    np.testing.assert_allclose(scores, [SMALL.apply(params, image) for image in x], **close)
    np.testing.assert_allclose(scores, jax.jit(SMALL.apply)(params, x), **close)
    np.testing.assert_allclose(scores, jax.vmap(SMALL.apply, (None, 0))(params, x), **close)
    assert SMALL.apply(params, x[:0]).shape == (0, 5)


def test_classes_win_by_the_largest_score_or_the_smallest_distance():
    x = jnp.asarray(normal((4, 8, 7, 1), "images"))
    params = parameters_of(SMALL)
    np.testing.assert_array_equal(SMALL.classify(params, x), np.argmax(SMALL.apply(params, x), -1))
    assert SMALL.classify(params, x[0]).shape == ()
    by_distance = Network("near", Input((1, 1, 3)), {"rbf": RBF(CODES)})
    np.testing.assert_array_equal(by_distance.classify({}, jnp.array(CODES, float)[:, None, None]), [0, 1])


def test_unconnected_weights_of_a_network_have_a_gradient_of_exactly_zero():
    params, x = parameters_of(SMALL), normal((2, 8, 7, 1), "images")
    gradient = jax.grad(lambda params: jnp.sum(SMALL.apply(params, x) ** 2))(params)["c3"]["w"]
    table = dict(SMALL.layers)["c3"].connections.matrix
    assert np.all(np.asarray(gradient)[:, :, ~table] == 0)
    assert np.all(np.asarray(gradient)[:, :, table] != 0)


def test_networks_are_values():
    as_dict = Network("small", Input((8, 7, 1)), dict(SMALL.layers))
    assert as_dict == SMALL
    assert hash(as_dict) == hash(SMALL)
    assert Network("small", Input([8, 7, 1]), SMALL.layers) == SMALL
    assert Network("small", Input((9, 7, 1)), SMALL.layers) != SMALL
    assert len({SMALL, as_dict}) == 1
    compiled = jax.jit(lambda network, params, x: network.apply(params, x), static_argnums=0)
    assert compiled(SMALL, PARAMS, jnp.zeros((1, 8, 7, 1), jnp.float32)).shape == (1, 5)


@pytest.mark.parametrize(
    ("layers", "error", "words"),
    [
        ((), ArgumentValueError, "at least one layer"),
        ((("a", Dense(2)), ("a", Dense(2))), ArgumentValueError, "a name of its own"),
        ((("input", Dense(2)),), ArgumentValueError, 'other than "input"'),
        ((("a", Dense),), ArgumentTypeError, r"`a` is .* expected a layer.* Conv2D\(6, 5\)"),
        ((("a", jnp.tanh),), ArgumentTypeError, "expected a layer"),
        ({"a": Conv2D(2, 9)}, ArgumentValueError, "a kernel of .* at most 8"),
        ({"a": Dense(3), "b": Conv2D(2, 3)}, ArgumentValueError, r"expected the axes \(H, W, C\)"),
        (
            [("a", Dense(2), "b"), ("b", Dense(2))],
            ArgumentValueError,
            r"`a` is reading \['b'\]; expected volumes before",
        ),
        ([("a", Dense(2), ("input", "input"))], ArgumentValueError, "expected one volume for Dense"),
        ({"a": Dense(2), "b": Add()}, ArgumentValueError, r"several volumes for Add. Fix: write \('b', Add\(...\), \("),
    ],
)
def test_layers_that_do_not_fit_are_refused_when_the_network_is_built(layers, error, words):
    with pytest.raises(error, match=words):
        Network("bad", Input((8, 7, 1)), layers)


IMAGES = np.zeros((2, 8, 7, 1), np.float32)


@pytest.mark.parametrize(
    ("params", "images", "error", "words"),
    [
        (PARAMS, np.zeros((2, 8, 7, 1), np.uint8), ArgumentTypeError, r"small.apply: `images`.* network.input.prepare"),
        (PARAMS, np.zeros((2, 8, 7, 1), int), ArgumentTypeError, "floating"),
        (PARAMS, None, ArgumentTypeError, "`images` is None"),
        (PARAMS, IMAGES[..., 0], ArgumentValueError, r"expected \(N, 8, 7, 1\) or \(8, 7, 1\)"),
        (PARAMS, IMAGES[:, :7], ArgumentValueError, r"\(2, 7, 7, 1\)"),
        (PARAMS, IMAGES[None], ArgumentValueError, r"\(1, 2, 8, 7, 1\)"),
        ({}, IMAGES, ArgumentValueError, r"`params` is with keys \[\]; expected the parameters of 'c1'"),
        ({"c1": PARAMS["c1"]}, IMAGES, ArgumentValueError, "the parameters of 'c3' among them"),
        (
            PARAMS,
            IMAGES.astype(float),
            ArgumentTypeError,
            r"of dtype float64; expected float32, the dtype of params\['c1'\]\['w'\]",
        ),
    ],
)
def test_images_and_parameters_that_do_not_fit_are_refused(params, images, error, words):
    with pytest.raises(error, match=words):
        SMALL.apply(params, images)


# Networks with branches, and in training

BRANCHED = Network(
    "branched",
    Input((4, 4, 2)),
    [
        ("c1", Conv2D(3, 3, padding=1)),
        ("n1", BatchNorm(activation="relu")),
        ("c2", Conv2D(3, 1), "input"),
        ("sum", Add(), ["n1", "c2"]),
        ("both", Concatenate(), ("sum", "c1")),
        ("drop", Dropout(0.5)),
        ("out", Dense(5)),
    ],
)


BRANCHED_PARAMS = jax.tree.map(np.abs, parameters_of(BRANCHED))  # variances are positive


def test_a_layer_reads_the_volumes_that_its_entry_names():
    params, x = BRANCHED_PARAMS, jnp.asarray(normal((3, 4, 4, 2), "images"))
    layers = dict(BRANCHED.layers)
    c1 = layers["c1"].apply(params["c1"], x)
    total = layers["n1"].apply(params["n1"], c1) + layers["c2"].apply(params["c2"], x)
    volumes = BRANCHED.volumes(params, x)
    assert np.all(np.isfinite(total))
    np.testing.assert_array_equal(volumes["both"], np.concatenate([total, c1], axis=-1))
    np.testing.assert_array_equal(volumes["drop"], volumes["both"])
    assert {name: volume.shape[1:] for name, volume in volumes.items()} == BRANCHED.shapes()
    assert BRANCHED.input_names()["sum"] == ("n1", "c2")
    assert BRANCHED.input_names()["out"] == "drop"
    assert BRANCHED.input_shapes()["both"] == ((4, 4, 3), (4, 4, 3))
    assert BRANCHED.reads["c2"] == ("input",)


def test_networks_with_branches_are_values():
    again = dataclasses.replace(BRANCHED, name="branched")
    assert again == BRANCHED
    assert hash(again) == hash(BRANCHED)
    spelled = [("a", Dense(2), "input"), ("b", Dense(2), "a")]
    assert Network("n", Input((1, 1, 1)), spelled) == Network("n", Input((1, 1, 1)), {"a": Dense(2), "b": Dense(2)})
    with pytest.raises(ArgumentValueError, match=r"`branches` is \['c2', 'sum', 'both'\]; expected names of layers"):
        dataclasses.replace(BRANCHED, layers=BRANCHED.layers[:1])


def test_training_uses_the_statistics_of_the_batch_and_draws():
    params, x = BRANCHED_PARAMS, jnp.asarray(normal((3, 4, 4, 2), "images"))
    scores, fresh = BRANCHED.apply_training(params, x, KEY)
    assert scores.shape == (3, 5)
    assert not np.allclose(scores, BRANCHED.apply_training(params, x, jax.random.key(1))[0])
    changed = jax.tree.map(lambda old, new: not np.array_equal(old, new), params, fresh)
    assert changed == jax.tree.map(lambda trained: not trained, BRANCHED.trainable(params))
    assert BRANCHED.draws
    with pytest.raises(ArgumentValueError, match=r"branched.apply_training: `key` is None; expected a key"):
        BRANCHED.apply_training(params, x)


def test_training_a_network_without_statistics_and_noise_is_applying_it():
    params, x = parameters_of(SMALL), jnp.asarray(normal((3, 8, 7, 1), "images"))
    scores, fresh = SMALL.apply_training(params, x)
    np.testing.assert_array_equal(scores, SMALL.apply(params, x))
    assert fresh == params
    assert SMALL.apply_training(params, x[0])[0].shape == (5,)
    assert not SMALL.draws
    assert all(jax.tree.leaves(SMALL.trainable(params)))


def test_gradients_of_a_network_with_branches_statistics_and_noise_agree_with_finite_differences():
    params, x = BRANCHED_PARAMS, jnp.asarray(normal((3, 4, 4, 2), "images"))
    for apply in (BRANCHED.apply, lambda params, x: BRANCHED.apply_training(params, x, KEY)[0]):
        assert cnnjax.check_grads(lambda params, x, f=apply: jnp.sum(f(params, x) ** 2), (params, x)).ok
