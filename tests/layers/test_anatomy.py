"""The anatomy of a network: partial responses against the oracle, receptive fields against what moves a unit."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import BY_NAME, parameters_of

import cnnjax
from cnnjax import Input, Network, reference
from cnnjax.layers import AdaptiveAvgPool2D, Add, AvgPool2D, Concatenate, Conv2D, Dense, Multiply
from cnnjax.layers.anatomy import decompose, partial_responses, receptive_field

NAMES = (
    "the question's 9x9x10 under 3x3x10",
    "no batch axis",
    "same, unequal stride",
    "circular, even kernel, stride 2",
    "edge, even kernel, stride 2",
    "reflect, stride, dilation",
    "groups, stride, same",
    "table, unequal",
    "Table I",
)


@pytest.mark.parametrize("case", [BY_NAME[name] for name in NAMES], ids=lambda case: case.name)
def test_a_partial_response_is_the_convolution_of_one_map_alone_and_they_add_up(case):
    x, w, b = (case.draw_integers(what) for what in "xwb")
    p = partial_responses(case.one(x), w, connections=case.table, **case.settings)
    np.testing.assert_array_equal(jnp.sum(p, axis=-2) + b[(None,) * (p.ndim - 2)], case.convolve(case.one(x), w, b))
    for c in range(x.shape[-1]):
        alone = np.where(np.arange(x.shape[-1]) == c, x, 0.0)
        np.testing.assert_array_equal(p[..., c, :], case.one(reference.convolve(alone, w, **case.for_oracle)))


def test_unconnected_weights_do_not_respond_even_where_they_are_nan():
    w = np.full((3, 3, 2, 2), np.nan)
    table = cnnjax.connections.one_to_one(2)
    w[:, :, [0, 1], [0, 1]] = 1.0
    p = partial_responses(np.ones((3, 3, 2)), w, connections=table)
    np.testing.assert_array_equal(p[0, 0], [[9, 0], [0, 9]])


GROUPED = Network(
    "grouped",
    Input((13, 11, 3)),
    {
        "first": Conv2D(4, (3, 2), stride=(2, 1), dilation=(1, 2), padding="SAME", activation="tanh"),
        "pool": AvgPool2D(2, padding=((1, 0), (0, 1))),
        "grouped": Conv2D(6, 3, groups=2, bias=False, padding=1, stride=2, activation="relu"),
        "out": Dense(5),
    },
)
TABLED = Network(
    "tabled",
    Input((18, 18, 1)),
    {
        "a": Conv2D(6, 5, activation="tanh"),
        "pool": AvgPool2D(2),
        "b": Conv2D(16, 5, connections=cnnjax.connections.LENET5_C3, activation="scaled_tanh"),
    },
)


@pytest.mark.parametrize(
    ("network", "layer"),
    [
        (TABLED, "b"),
        (GROUPED, "first"),
        (GROUPED, "grouped"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_the_parts_of_a_layer_give_its_output(network, layer):
    params = parameters_of(network)
    image = np.random.default_rng(0).normal(size=network.input.shape)
    parts = decompose(network, params, image, layer)
    activation = cnnjax.ACTIVATIONS[dict(network.layers)[layer].activation]
    volumes = network.volumes(params, image)
    np.testing.assert_allclose(activation(parts.pre_activation), volumes[layer], rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(parts.output, volumes[layer])
    np.testing.assert_array_equal(parts.total, parts.partial.sum(axis=-2))
    assert ((np.abs(parts.weights).sum((0, 1)) > 0) == parts.table.matrix).all()
    assert ((np.abs(parts.partial).sum((0, 1)) > 0) == parts.table.matrix).all()
    assert parts.bias.shape == (volumes[layer].shape[-1],)
    x = cnnjax.conv2d(parts.inputs, parts.weights, **settings(network, layer))
    np.testing.assert_allclose(parts.total, x, rtol=1e-12, atol=1e-12)


def settings(network, layer):
    found = dict(network.layers)[layer]
    return {name: getattr(found, name) for name in ("stride", "padding", "dilation")}


def felt(network, layer, on):
    """For every unit of a layer, which pixels of an earlier volume move it, by differentiating.

    Weights and pixels are positive and activations increasing, so that nothing cancels.
    """
    names = list(network.shapes())
    rest = Network("rest", Input(network.shapes()[on]), network.layers[names.index(on) : names.index(layer)])
    params = jax.tree.map(jnp.abs, parameters_of(rest))
    jacobian = jax.jit(jax.jacrev(lambda x: rest.apply(params, x)[..., 0]))(jnp.ones(network.shapes()[on]))
    return np.any(np.asarray(jacobian) != 0, axis=-1)


BOUNDARIES = {
    padding: Network(
        padding,
        Input((9, 8, 1)),
        {"a": Conv2D(2, (3, 4), padding=padding), "b": Conv2D(2, (3, 2), padding=padding, stride=(2, 1))},
    )
    for padding in ("VALID", "SAME", "SAME_LOWER", "CIRCULAR", "EDGE", "REFLECT")
}
NETWORKS = (TABLED, GROUPED, *BOUNDARIES.values())


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_a_receptive_field_is_what_moves_the_unit(network):
    *_, before, layer = (name for name, shape in network.shapes().items() if len(shape) == 3)
    rows, columns = network.shapes()[layer][:2]
    for on in ("input", before):
        moved = felt(network, layer, on)
        for position in {(0, 0), (0, 1), (rows // 2, columns // 2), (rows - 1, columns - 1)}:
            places = np.nonzero(moved[position])
            hull = tuple(slice(int(p.min()), int(p.max()) + 1) for p in places)
            assert receptive_field(network, layer, position, on) == hull, (position, on)


BRANCHED = Network(
    "branched",
    Input((11, 9, 1)),
    [
        ("a", Conv2D(2, 3, stride=2, padding=1)),
        ("wide", Conv2D(2, 5, padding=2)),
        ("narrow", Conv2D(2, 1), "a"),
        ("sum", Add(), ("wide", "narrow")),
        ("left", Conv2D(2, (1, 3)), "sum"),
        ("right", Conv2D(2, (1, 2)), "a"),
        ("cut", Conv2D(3, (1, 2)), "right"),
        ("both", Concatenate(), ("left", "cut")),
        ("pool", AdaptiveAvgPool2D((4, 2))),
    ],
)


@pytest.mark.parametrize("layer", ["sum", "both", "pool"])
def test_a_unit_that_reads_several_volumes_sees_what_any_of_them_sees(layer):
    params = jax.tree.map(jnp.abs, parameters_of(BRANCHED))
    jacobian = jax.jacrev(lambda x: BRANCHED.volumes(params, x)[layer].sum(axis=-1))
    moved = np.any(np.asarray(jax.jit(jacobian)(jnp.ones((11, 9, 1)))) != 0, axis=-1)
    rows, columns = BRANCHED.shapes()[layer][:2]
    for position in itertools.product(range(rows), range(columns)):
        places = np.nonzero(moved[position])
        hull = tuple(slice(int(p.min()), int(p.max()) + 1) for p in places)
        assert receptive_field(BRANCHED, layer, position) == hull


def test_a_volume_that_a_unit_does_not_depend_on_and_one_that_is_broadcast():
    network = Network(
        "scaled",
        Input((6, 6, 2)),
        [("mean", AdaptiveAvgPool2D()), ("c", Conv2D(2, 1), "input"), ("scaled", Multiply(), ("c", "mean"))],
    )
    assert receptive_field(network, "c", (2, 3), "mean") == (slice(0, 0), slice(0, 0))
    assert receptive_field(network, "scaled", (2, 3), "mean") == (slice(0, 1), slice(0, 1))
    assert receptive_field(network, "scaled", (2, 3), "c") == (slice(2, 3), slice(3, 4))
    assert receptive_field(network, "scaled", (2, 3)) == (slice(0, 6), slice(0, 6))


def test_in_the_middle_it_has_the_size_that_the_summary_prints():
    for network in (cnnjax.models.lenet5(), cnnjax.models.lenet_tutorial()):
        for row in cnnjax.summary(network).rows:
            rows, columns = receptive_field(network, row.name)
            assert (rows.stop - rows.start, columns.stop - columns.start) == row.receptive_field


def test_a_unit_that_sees_only_padding_has_an_empty_field():
    network = Network("padded", Input((2, 2, 1)), {"a": Conv2D(1, 2, padding=3), "b": Conv2D(1, 1)})
    assert receptive_field(network, "b", (0, 0)) == (slice(0, 0), slice(0, 0))
    assert receptive_field(network, "b", (0, 0), "a") == (slice(0, 1), slice(0, 1))


LENET5 = cnnjax.models.lenet5()
PARAMS = parameters_of(LENET5)
X, W = np.ones((6, 6, 2)), np.ones((3, 3, 2, 4))
TABLE = cnnjax.connections.full(2, 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: partial_responses(X, np.ones((3, 3, 3, 4))), ValueError, r"partial_responses: `w` is .* 3 input maps"),
        (lambda: partial_responses(X, W[0]), ValueError, r"partial_responses: `w` .* 4 axes \(k_h, k_w, C_in / groups"),
        (lambda: partial_responses(X, W.astype(np.float32)), TypeError, "partial_responses: `w` is of dtype float32"),
        (lambda: partial_responses(X, W, groups=0), ValueError, "partial_responses: `groups` is 0"),
        (lambda: partial_responses(X, W, connections=np.ones((2, 4), bool)), TypeError, "wrap a boolean"),
        (
            lambda: partial_responses(X, W, connections=TABLE),
            ValueError,
            r"of shape \(2, 3\); expected \(C_in, C_out\) = \(2, 4\)",
        ),
        (
            lambda: partial_responses(X, W[:, :, :1], groups=2, connections=cnnjax.connections.full(2, 4)),
            ValueError,
            "given together with groups=2; expected one of the two",
        ),
        (lambda: decompose(LENET5, PARAMS, X, "s2"), ValueError, r"decompose: `layer` is 's2'.*\['c1', 'c3', 'c5'\]"),
        (lambda: decompose(LENET5, PARAMS, np.ones((1, 32, 32, 1)), "c1"), ValueError, "pass one of the batch"),
        (lambda: receptive_field(LENET5, "c9"), ValueError, "`layer` is 'c9'; expected one of the volumes"),
        (lambda: receptive_field(LENET5, "c1", on="c3"), ValueError, r"`on` is 'c3'; expected .*\['input', 'c1'\]"),
        (lambda: receptive_field(LENET5, "output", on="f6"), ValueError, "`on` is 'f6'"),
        (lambda: receptive_field(LENET5, "c3", (10, 0)), ValueError, "a row below 10 and a column below 10"),
        (lambda: receptive_field(LENET5, "f6", (0, 1)), ValueError, "a row below 1 and a column below 1"),
        (lambda: receptive_field(LENET5, "c3", (0, -1)), ValueError, "`position`"),
        (lambda: receptive_field(LENET5, "c3", (0.5, 0)), TypeError, "`position`"),
    ],
)
def test_wrong_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
