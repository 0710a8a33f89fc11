"""Layers and networks as data: shapes, counts, parameters, application, and what does not fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import integers, normal, parameters_of

import cnnjax
from cnnjax import Input, Network, reference
from cnnjax import connections as tables
from cnnjax.errors import ArgumentTypeError, ArgumentValueError
from cnnjax.init import Constant, GlorotUniform, HeNormal, LeCunUniform
from cnnjax.layers import RBF, AvgPool2D, Conv2D, Counts, Dense, Layer, MaxPool2D, Subsample2D

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
    "rbf": (RBF(CODES), (3,), (2,)),
    "rbf, trainable, on a volume": (RBF(CODES, trainable=True), (1, 1, 3), (2,)),
}
each_layer = pytest.mark.parametrize(("layer", "shape", "output"), LAYERS.values(), ids=LAYERS)


@each_layer
def test_shapes_counts_and_parameters_of_a_layer_agree(layer, shape, output):
    assert isinstance(layer, Layer)
    assert layer.output_shape(shape) == output
    params = layer.init(KEY, shape, jnp.float32)
    y = jax.eval_shape(layer.apply, params, jnp.zeros((3, *shape), jnp.float32))
    assert y.shape == (3, *output)
    assert y.dtype == jnp.float32
    assert all(value.dtype == jnp.float32 for value in params.values())
    counts = layer.counts(shape)
    stored = sum(value.size for value in params.values())
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
        x = jnp.ones((1, *shape))  # where all of a window is equal, the maximum feels all of it
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


def test_a_dense_layer_on_a_volume_is_the_convolution_with_the_whole_input():
    x, w, b = integers((2, 3, 4, 5), "x"), integers((60, 7), "w"), integers((7,), "b")
    dense = Dense(7).apply({"w": w, "b": b}, jnp.asarray(x))
    np.testing.assert_array_equal(dense, cnnjax.conv2d(x, w.reshape(3, 4, 5, 7), b)[:, 0, 0])
    assert Dense(7).geometry((3, 4, 5)).kernel == (3, 4)
    assert Dense(7).geometry((60,)) is None


def test_a_conv_layer_hands_every_setting_on():
    x = integers((1, 7, 8, 4), "x")
    how = {"stride": (2, 1), "padding": "CIRCULAR", "dilation": (1, 2)}
    layer = Conv2D(6, (3, 2), groups=2, activation=lambda y: 2 * y, **how)
    params = {"w": integers((3, 2, 2, 6), "w"), "b": integers((6,), "b")}
    exact = 2 * reference.convolve(x, params["w"], params["b"], groups=2, **how)
    np.testing.assert_array_equal(layer.apply(params, x), exact)


@pytest.mark.parametrize(
    ("layer", "pool"),
    [
        (MaxPool2D(2, stride=1, padding="SAME"), reference.max_pool),
        (AvgPool2D(2, stride=1, padding="SAME"), reference.avg_pool),
        (Subsample2D(2, stride=1, padding="SAME"), lambda x, *a, **k: 3 * reference.avg_pool(x, *a, **k)),
    ],
)
def test_a_pooling_layer_hands_every_setting_on(layer, pool):
    x = np.ones((1, 3, 3, 2)) if isinstance(layer, Subsample2D) else integers((1, 3, 3, 2), "x")
    params = {"w": np.full(2, 3.0), "b": np.zeros(2)} if isinstance(layer, Subsample2D) else {}
    y = layer.apply(params, x)
    if isinstance(layer, Subsample2D):
        np.testing.assert_array_equal(y[0, ..., 0], [[12, 12, 6], [12, 12, 6], [6, 6, 3]])
    else:
        np.testing.assert_allclose(y, pool(x, (2, 2), stride=1, padding="SAME"), rtol=4e-16)


def test_rbf_units_are_squared_distances():
    x = jnp.array([[1.0, 2.0, 3.0], [1.0, -1.0, 1.0]])
    for layer, params in ((RBF(CODES), {}), (RBF(CODES, trainable=True), {"w": jnp.array(CODES, float)})):
        np.testing.assert_array_equal(layer.apply(params, x), [[13, 9], [0, 8]])
    moved = RBF(CODES, trainable=True).apply({"w": jnp.array(CODES, float) + 1}, x)
    np.testing.assert_array_equal(moved, [[1 + 4 + 1, 1 + 0 + 1], [1 + 1 + 1, 1 + 9 + 1]])
    assert RBF(np.array(CODES)) == RBF(CODES)


def test_weights_of_unconnected_pairs_start_at_zero_and_the_others_have_their_fan_in():
    table = tables.from_rows([[0], [], [0, 1]], 2)
    layer = Conv2D(3, 20, connections=table, weight_init=LeCunUniform())
    w = layer.init(KEY, (20, 20, 2), jnp.float64)["w"]
    np.testing.assert_array_equal(np.any(w != 0, axis=(0, 1)), table.matrix)
    for o, fan in ((0, 400), (2, 800)):
        largest = float(jnp.abs(w[..., o]).max())
        assert 0.95 * 2.4 / fan < largest <= 2.4 / fan


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Conv2D(0, 3), ArgumentValueError, "Conv2D: `maps` is 0"),
        (lambda: Conv2D(2.0, 3), ArgumentTypeError, "Conv2D: `maps` is 2.0"),
        (lambda: Conv2D(2, 0), ArgumentValueError, "Conv2D: `kernel` is 0"),
        (lambda: Conv2D(2, (3, 3, 3)), ArgumentValueError, r"`kernel` is \(3, 3, 3\)"),
        (lambda: Conv2D(2, 3, groups=True), ArgumentTypeError, "`groups` is True"),
        (
            lambda: Conv2D(2, 3, activation="tahn"),
            ArgumentValueError,
            "`activation` is 'tahn'; expected one of identity, scaled",
        ),
        (lambda: Dense(2, activation=None), ArgumentTypeError, '`activation` is None; .* use "identity" for none'),
        (
            lambda: Conv2D(2, 3, connections=np.ones((2, 2), bool)),
            ArgumentTypeError,
            "expected a ConnectionTable or None",
        ),
        (lambda: Conv2D(4, 3, groups=2, connections=tables.full(4, 4)), ArgumentValueError, "together with groups=2"),
        (
            lambda: Conv2D(8, 3, groups=8).output_shape((9, 9, 4)),
            ArgumentValueError,
            "`groups` is 8; expected a divisor of both C_in = 4",
        ),
        (
            lambda: Conv2D(4, 3, connections=tables.full(3, 4)).output_shape((9, 9, 2)),
            ArgumentValueError,
            r"a table of shape \(3, 4\); expected \(C_in, maps\) = \(2, 4\)",
        ),
        (lambda: Conv2D(4, 3, stride=0).output_shape((9, 9, 2)), ArgumentValueError, "`stride` is 0"),
        (lambda: Conv2D(4, 3, padding="same").output_shape((9, 9, 2)), ArgumentValueError, 'write "SAME"'),
        (lambda: Conv2D(4, 5).output_shape((4, 9, 2)), ArgumentValueError, "a kernel of .* at most 4"),
        (
            lambda: Conv2D(4, 5).output_shape((100,)),
            ArgumentValueError,
            r"`shape` is \(100,\); expected the axes \(H, W, C\)",
        ),
        (
            lambda: MaxPool2D(2).output_shape((100,)),
            ArgumentValueError,
            "MaxPool2D: `shape`.* put this layer before the dense",
        ),
        (lambda: MaxPool2D(0), ArgumentValueError, "MaxPool2D: `window` is 0"),
        (lambda: AvgPool2D(2, activation="no"), ArgumentValueError, "AvgPool2D: `activation`"),
        (lambda: Subsample2D(9).output_shape((4, 4, 1)), ArgumentValueError, "Subsample2D: `window` is a window of"),
        (lambda: Dense(0), ArgumentValueError, "Dense: `units` is 0"),
        (lambda: RBF((1, 2)), ArgumentValueError, r"RBF: `codes` is of shape \(2,\)"),
        (lambda: RBF(CODES).output_shape((4,)), ArgumentValueError, "2 codes of 3 values; expected 4 values"),
        (lambda: Input((32, 32)), ArgumentValueError, r"Input: `shape` is \(32, 32\) \(2 entries\)"),
        (lambda: Input((32, 0, 1)), ArgumentValueError, r"`shape` is \(32, 0, 1\)"),
        (lambda: Input(32), ArgumentTypeError, r"`shape` is 32; expected a tuple \(H, W, C\)"),
    ],
)
def test_a_layer_that_cannot_be_is_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()


# Input


def test_images_are_centred_and_their_grey_levels_scaled():
    take = Input((5, 6, 1), background=-0.1, foreground=1.175)
    images = np.full((2, 2, 3), 255, np.uint8)
    images[1] = 51
    prepared = take.prepare(images)
    assert prepared.shape == (2, 5, 6, 1)
    assert prepared.dtype == jnp.float32
    inside = np.zeros((5, 6), bool)
    inside[1:3, 1:4] = True  # the odd row and column go after the image
    np.testing.assert_allclose(prepared[0, ..., 0], np.where(inside, 1.175, -0.1), rtol=1e-6)
    np.testing.assert_allclose(prepared[1, ..., 0], np.where(inside, 0.155, -0.1), rtol=1e-6)
    np.testing.assert_array_equal(take.prepare(images[..., None]), prepared)
    assert take.prepare(images, jnp.float64).dtype == jnp.float64
    np.testing.assert_array_equal(take.prepare(jnp.asarray(images)), prepared)


def test_plain_input_is_between_zero_and_one():
    ramp = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    np.testing.assert_allclose(Input((16, 16, 1)).prepare(ramp)[0, ..., 0], ramp[0] / 255, rtol=1e-7)


@pytest.mark.parametrize(
    ("images", "error", "words"),
    [
        (np.zeros((2, 5, 5), np.float32), ArgumentTypeError, "float32; expected uint8 grey levels"),
        ([[0, 1]], ArgumentTypeError, "a list of 1 items; expected uint8"),
        (np.zeros((2, 5, 5, 3), np.uint8), ArgumentValueError, r"\(N, h, w\) or \(N, h, w, 1\), at most 6 x 6 pixels"),
        (np.zeros((2, 7, 5), np.uint8), ArgumentValueError, "at most 6 x 6 pixels"),
        (np.zeros((2, 5, 7), np.uint8), ArgumentValueError, "crop or resize"),
        (np.zeros((5, 5), np.uint8), ArgumentValueError, r"\(N, h, w\)"),
    ],
)
def test_images_that_are_no_grey_levels_are_refused(images, error, words):
    with pytest.raises(error, match=words):
        Input((6, 6, 1)).prepare(images)


# Networks

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
