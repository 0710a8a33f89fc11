"""LeNet-5 of 1998, number by number."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import normal, parameters_of

import cnnjax
from cnnjax.connections import LENET5_C3
from cnnjax.layers import Conv2D, Dense, Input, MaxPool2D, Network
from cnnjax.models import DIGIT_CODES, lenet5

NETWORK = lenet5()
CODES_FILE = Path(__file__).resolve().parents[3] / "shared" / "reference" / "digit_codes_rows.json"
# Two of the digits of figure 3, as they are drawn there: with a bar over it, and without.
DRAWN = {
    2: ".#####. ....... .#####. ##...## #....## ....##. ..###.. .##.... ##..... ####### ....... .......",
    3: "####### .....## ....##. ...##.. ..####. .....## .....## .....## ##...## .#####. ....... .......",
    9: ".#####. ##..### ##...## ##...## ##..### .###### .....## .....## ....##. .####.. ....... .......",
}
TABLE = [
    # layer, maps, size, kernel, parameters, connections, multiply-accumulates, field, jump
    ("c1", 6, (28, 28), (5, 5), 156, 122_304, 117_600, 5, 1),
    ("s2", 6, (14, 14), (2, 2), 12, 5_880, 1_176, 6, 2),
    ("c3", 16, (10, 10), (5, 5), 1_516, 151_600, 150_000, 14, 2),
    ("s4", 16, (5, 5), (2, 2), 32, 2_000, 400, 16, 4),
    ("c5", 120, (1, 1), (5, 5), 48_120, 48_120, 48_000, 32, 4),
    ("f6", 84, (), (1, 1), 10_164, 10_164, 10_080, 32, 4),
    ("output", 10, (), (), 0, 840, 840, 32, 4),
]


@pytest.fixture(scope="module")
def params():
    """Any numbers, of about the sizes that the network starts with."""
    return parameters_of(NETWORK, "float32", 0.1)


@pytest.mark.parametrize(
    ("row", "expected"), list(zip(cnnjax.summary(NETWORK).rows, TABLE, strict=True)), ids=[r[0] for r in TABLE]
)
def test_each_layer_has_the_numbers_of_the_paper(row, expected):
    name, maps, size, kernel, parameters, connections, products, field, jump = expected
    assert (row.name, row.maps, row.size, row.kernel) == (name, maps, size, kernel)
    assert (row.num_parameters, row.num_connections, row.num_macs) == (parameters, connections, products)
    assert (row.receptive_field, row.jump) == ((field, field), (jump, jump))


def test_the_totals_are_those_of_the_paper():
    table = cnnjax.summary(NETWORK)
    assert table.num_parameters == 60_000
    assert table.num_connections == 340_908
    assert sum(row.num_macs for row in table.rows if row.kind != "Subsample2D") == 326_520
    units = [int(np.prod(shape)) for shape in NETWORK.shapes().values()]
    assert units == [1024, 4704, 1176, 1600, 400, 120, 84, 10]
    assert sum(units[1:]) == 8_094


def test_with_trainable_codes_there_are_840_parameters_more():
    network = lenet5(trainable_codes=True)
    assert cnnjax.summary(network).num_parameters == 60_840
    assert cnnjax.summary(network).num_connections == 340_908
    codes = dict(network.layers)["output"].init(jax.random.key(0), (84,), jnp.float32)
    np.testing.assert_array_equal(codes["w"], DIGIT_CODES)
    assert network != NETWORK
    fixed = parameters_of(NETWORK, "float32", 0.1)
    params = {**fixed, "output": codes}
    assert jax.tree.structure(params) == jax.tree.structure(jax.eval_shape(network.init, jax.random.key(0)))
    x = jnp.asarray(normal((2, 32, 32, 1), "images", "float32"))
    np.testing.assert_array_equal(network.apply(params, x), NETWORK.apply(fixed, x))


def test_the_parameters_are_the_ones_that_are_counted():
    params = jax.eval_shape(NETWORK.init, jax.random.key(0))
    shapes = {f"{layer}.{key}": value.shape for layer, arrays in params.items() for key, value in arrays.items()}
    assert shapes == {
        "c1.w": (5, 5, 1, 6), "c1.b": (6,), "s2.w": (6,), "s2.b": (6,), "c3.w": (5, 5, 6, 16), "c3.b": (16,),
        "s4.w": (16,), "s4.b": (16,), "c5.w": (5, 5, 16, 120), "c5.b": (120,), "f6.w": (120, 84), "f6.b": (84,),
    }  # fmt: skip
    unconnected = 25 * (96 - 60)
    assert sum(value.size for value in jax.tree.leaves(params)) - unconnected == 60_000


def test_the_modern_variant_is_another_network():
    """Full connection, pooling without parameters, a dense output: what is often shown as LeNet-5."""
    network = Network(
        "modern",
        Input((32, 32, 1)),
        (
            ("c1", Conv2D(6, 5)), ("s2", MaxPool2D(2)), ("c3", Conv2D(16, 5)), ("s4", MaxPool2D(2)),
            ("c5", Conv2D(120, 5)), ("f6", Dense(84)), ("output", Dense(10)),
        ),
    )  # fmt: skip
    table = cnnjax.summary(network)
    assert table.num_parameters == 61_706
    assert (table.rows[2].num_parameters, table.rows[2].num_connections) == (2_416, 241_600)
    assert sum(value.size for value in jax.tree.leaves(jax.eval_shape(network.init, jax.random.key(0)))) == 61_706


# The output units


@pytest.mark.parametrize("digit", DRAWN)
def test_the_codes_are_the_drawings(digit):
    drawn = [1 if mark == "#" else -1 for mark in DRAWN[digit].replace(" ", "")]
    np.testing.assert_array_equal(DIGIT_CODES[digit], drawn)


def test_the_codes_are_those_of_the_file():
    if not CODES_FILE.exists():
        pytest.skip("the file with the bitmaps is not beside this checkout")
    rows = json.loads(CODES_FILE.read_text())
    by_digit = rows.values() if isinstance(rows, dict) else rows
    bits = [[1 if row >> (6 - column) & 1 else -1 for row in digit for column in range(7)] for digit in by_digit]
    np.testing.assert_array_equal(DIGIT_CODES, bits)


def test_the_codes_have_the_counts_and_distances_of_the_figure():
    assert DIGIT_CODES.shape == (10, 84)
    assert set(np.unique(DIGIT_CODES)) == {-1, 1}
    assert (DIGIT_CODES == 1).sum(1).tolist() == [35, 27, 33, 32, 41, 35, 39, 25, 43, 39]
    distance = (DIGIT_CODES[:, None] != DIGIT_CODES[None]).sum(-1)
    pairs = {d: sorted((i, j) for i in range(10) for j in range(i) if distance[i, j] == d) for d in (12, 18, 20, 50)}
    assert pairs == {12: [(8, 6)], 18: [(4, 0), (9, 8)], 20: [(5, 2), (6, 4), (8, 4)], 50: [(4, 1), (7, 4), (8, 1)]}
    above = distance[np.triu_indices(10, 1)]
    assert (above.min(), above.max(), round(above.mean(), 2)) == (12, 50, 31.09)
    assert (DIGIT_CODES[0] == DIGIT_CODES).all(0).sum() == 14


def test_the_codes_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        DIGIT_CODES[0, 0] = 0


def test_with_f6_at_zero_every_output_is_exactly_84(params):
    output = dict(NETWORK.layers)["output"]
    np.testing.assert_array_equal(output.apply({}, jnp.zeros((2, 84), jnp.float32)), np.full((2, 10), 84.0))
    # And f6 is at zero when its weights and biases are.
    params = jax.tree.map(jnp.zeros_like, params)
    np.testing.assert_array_equal(NETWORK.apply(params, jnp.ones((32, 32, 1), jnp.float32)), np.full(10, 84.0))


def test_the_code_of_a_digit_is_classified_as_that_digit():
    output = dict(NETWORK.layers)["output"]
    distances = output.apply({}, jnp.asarray(DIGIT_CODES, jnp.float32))
    np.testing.assert_array_equal(np.diag(distances), np.zeros(10))
    np.testing.assert_array_equal(NETWORK.winners(distances), np.arange(10))
    hamming = (DIGIT_CODES[:, None] != DIGIT_CODES[None]).sum(-1)
    np.testing.assert_array_equal(distances, 4 * hamming)


# Initialisation and input

BOUNDS = {
    "c1": [0.096],
    "s2": [0.6],
    "c3": [0.032] * 6 + [0.024] * 9 + [0.016],
    "s4": [0.6],
    "c5": [0.006],
    "f6": [0.02],
}


def test_weights_and_biases_start_uniform_within_the_bounds_of_the_paper():
    keys = jax.random.split(jax.random.key(0), 6)
    params = jax.jit(jax.vmap(lambda key: NETWORK.init(key, jnp.float64)))(keys)
    assert params.keys() == BOUNDS.keys()
    for layer, bounds in BOUNDS.items():
        for values in params[layer].values():
            relative = np.abs(values) / np.broadcast_to(bounds, values.shape[-1:])
            assert relative.max() <= 1 + 1e-12
            inside = relative[relative > 0]
            # n uniform values leave the top 20 / n of their range empty with probability e^-20.
            assert inside.max() > 1 - 20 / inside.size
            assert abs(inside.mean() - 0.5) < 6 / np.sqrt(12 * inside.size)
    assert np.count_nonzero(params["c3"]["w"][0]) == 1_500


def test_input_is_scaled_as_in_the_paper():
    ink = NETWORK.input.prepare(np.full((1, 28, 28), 255, np.uint8))
    assert ink.shape == (1, 32, 32, 1)
    np.testing.assert_allclose(ink[0, 2:30, 2:30], np.full((28, 28, 1), 1.175), rtol=1e-6)
    border = np.ones((32, 32, 1), bool)
    border[2:30, 2:30] = False
    np.testing.assert_allclose(ink[0][border], np.full(1024 - 784, -0.1), rtol=1e-6)


# As a function


def test_every_unit_up_to_f6_has_the_activation_of_the_paper(params):
    volumes = NETWORK.volumes(params, 10 * jnp.asarray(normal((2, 32, 32, 1), "images", "float32")))
    assert {name: volume.shape[1:] for name, volume in volumes.items()} == NETWORK.shapes()
    for name in ("c1", "s2", "c3", "s4", "c5", "f6"):
        assert float(jnp.abs(volumes[name]).max()) <= 1.7159 * (1 + 1e-6)
    assert float(volumes["output"].min()) >= 0


def test_it_is_the_composition_that_the_paper_describes(params):
    """Written out once more with NumPy-like steps: convolution, sum of 2 x 2, activation, distance."""
    x = jnp.asarray(normal((2, 32, 32, 1), "images", "float32"))
    activation = lambda a: 1.7159 * jnp.tanh(2 / 3 * a)  # noqa: E731

    def convolve(x, p, table=None):
        w = p["w"] if table is None else p["w"] * table.matrix[None, None].astype(np.float32)
        y = jax.lax.conv_general_dilated(x, w, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return activation(y + p["b"][None, None, None])

    def subsample(x, p):
        n, h, w, c = x.shape
        sums = x.reshape(n, h // 2, 2, w // 2, 2, c).sum((2, 4))
        return activation(sums * p["w"][None, None, None] + p["b"][None, None, None])

    y = subsample(convolve(x, params["c1"]), params["s2"])
    y = subsample(convolve(y, params["c3"], LENET5_C3), params["s4"])
    y = convolve(y, params["c5"])[:, 0, 0]
    y = activation(y @ params["f6"]["w"] + params["f6"]["b"][None])
    distances = ((y[:, None] - DIGIT_CODES[None].astype(np.float32)) ** 2).sum(-1)
    np.testing.assert_allclose(NETWORK.apply(params, x), distances, rtol=1e-5)


def test_batch_one_by_one_jit_and_vmap_agree(params):
    x = jnp.asarray(normal((2, 32, 32, 1), "images", "float32"))
    distances = NETWORK.apply(params, x)
    for same in (
        jnp.stack([NETWORK.apply(params, image) for image in x]),
        jax.jit(NETWORK.apply)(params, x),
        jax.vmap(NETWORK.apply, (None, 0))(params, x),
    ):
        np.testing.assert_allclose(same, distances, rtol=1e-5)
    np.testing.assert_array_equal(NETWORK.classify(params, x), np.argmin(distances, -1))


def test_unconnected_weights_of_c3_have_a_gradient_of_exactly_zero(params):
    x = jnp.asarray(normal((2, 32, 32, 1), "images", "float32"))
    gradient = jax.jit(jax.grad(lambda params: jnp.sum(NETWORK.apply(params, x))))(params)
    by_w = np.asarray(gradient["c3"]["w"])
    assert np.all(by_w[:, :, ~LENET5_C3.matrix] == 0)
    assert np.all(by_w[:, :, LENET5_C3.matrix] != 0)
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(gradient))


def test_the_networks_are_values():
    assert lenet5() == NETWORK
    assert hash(lenet5()) == hash(NETWORK)
