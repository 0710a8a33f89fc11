"""The summary of a function: equal to the networks' own, to published counts, and to XLA's."""

import importlib
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import cnnjax
from cnnjax import connections as tables
from cnnjax.errors import ArgumentTypeError
from cnnjax.layers.summary import Summary
from cnnjax.programs import ProgramSummary

os.environ["KERAS_BACKEND"] = "jax"  # keras reads it when it is imported

Struct = jax.ShapeDtypeStruct
IMAGE = Struct((1, 224, 224, 3), jnp.float32)
NHWC = ("NHWC", "HWIO", "NHWC")
RESNET50 = (25_557_032, 53_120, 4_089_184_256)
"""Parameters, running statistics and multiply-accumulates, as torchvision's."""

NETWORKS = [cnnjax.models.lenet5(), cnnjax.models.lenet_tutorial(), cnnjax.models.four_to_six()]


def totals(table):
    return table.num_parameters, table.num_statistics, table.num_macs


@pytest.fixture
def as_users_have_it(float32_world):
    """Let the libraries promote and broadcast as they do."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


# --- equal to other counts


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_a_network_has_the_same_rows_as_a_function(network):
    own = cnnjax.summary(network)
    params = jax.eval_shape(network.init, jax.random.key(0))
    table = cnnjax.summary(network.apply, params, Struct((1, *network.input.shape), jnp.float32))
    assert isinstance(own, Summary)
    assert isinstance(table, ProgramSummary)
    for name in ("num_parameters", "num_connections", "num_macs"):
        assert getattr(table, name) == getattr(own, name)
    for row, expected in zip(table.rows, own.rows, strict=True):
        same = ("name", "kind", "maps", "size", "kernel", "num_parameters", "num_connections", "num_macs")
        for attribute in (*same, "receptive_field", "jump"):
            assert getattr(row, attribute) == getattr(expected, attribute), (row.name, attribute)


def test_one_image_without_a_batch_axis_counts_the_same():
    network = cnnjax.models.lenet5()
    params = jax.eval_shape(network.init, jax.random.key(0))
    table = cnnjax.summary(network.apply, params, Struct(network.input.shape, jnp.float32))
    assert table.num_connections == cnnjax.summary(network).num_connections


@pytest.fixture
def flax_networks(as_users_have_it, monkeypatch):
    """The networks in flax of the benchmark."""
    pytest.importorskip("flax")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    return importlib.import_module("benchmarks.networks.flax_networks")


def test_flax_resnet50(flax_networks):
    network = flax_networks.ResNet((3, 4, 6, 3), bottleneck=True)
    variables = jax.eval_shape(lambda key: network.init(key, jnp.zeros(IMAGE.shape), train=False), jax.random.key(0))
    table = cnnjax.summary(network.apply, variables, IMAGE, train=False)
    assert totals(table) == RESNET50
    assert sum(row.num_parameters for row in table.rows) == table.num_parameters
    assert [row.kind for row in table.rows].count("Norm") == 53
    first, norm, pool = table.rows[:3]
    assert (first.name, norm.name, pool.kind) == ("ResNet/Conv_0", "ResNet/BatchNorm_0", "MaxPool2D")
    *_, last, mean, dense = table.rows
    # 427 pixels, as torchvision's network; the mean of 7 positions that are 32 pixels apart reads 192 more.
    assert (last.receptive_field, mean.receptive_field) == ((427, 427), (619, 619))
    assert (mean.kind, dense.kind, dense.jump) == ("GlobalAvgPool", "Dense", (32, 32))
    training = cnnjax.summary(lambda v, x: network.apply(v, x, train=True, mutable=["batch_stats"]), variables, IMAGE)
    assert (training.num_parameters, training.num_macs) == (table.num_parameters, table.num_macs)
    assert [row.kind for row in training.rows] == [row.kind for row in table.rows]


def test_flax_mobilenet_v2(flax_networks):
    network = flax_networks.MobileNetV2()
    variables = jax.eval_shape(lambda key: network.init(key, jnp.zeros(IMAGE.shape), train=False), jax.random.key(0))
    table = cnnjax.summary(network.apply, variables, IMAGE, train=False)
    assert (table.num_parameters, table.num_macs) == (3_504_872, 300_774_272)  # as torchvision's
    assert [row.reads for row in table.rows if row.kind == "Conv2D"].count("one") == 17
    assert table.rows[-3].receptive_field == (491, 491)


def test_haiku_resnet50(as_users_have_it):
    hk = pytest.importorskip("haiku")

    def network(x, training=False):
        return hk.nets.ResNet50(1000, resnet_v2=False)(x, is_training=training)

    transformed = hk.transform_with_state(network)
    params, state = jax.eval_shape(lambda key, x: transformed.init(key, x, True), jax.random.key(0), IMAGE)
    table = cnnjax.summary(transformed.apply, params, state, None, IMAGE)
    assert totals(table) == RESNET50
    assert table.rows[-1].name == "res_net50/logits"
    assert table.rows[-1].receptive_field == (619, 619)


@pytest.mark.parametrize("vmapped", [False, True])
@pytest.mark.parametrize("captured", [False, True])
def test_equinox(captured, vmapped, as_users_have_it):
    eqx = pytest.importorskip("equinox")
    keys = jax.random.split(jax.random.key(0), 4)
    model = eqx.nn.Sequential(
        [
            eqx.nn.Conv2d(3, 16, 7, 2, 3, key=keys[0]),
            eqx.nn.GroupNorm(4, 16),
            eqx.nn.MaxPool2d(3, 2, 1),
            eqx.nn.Conv2d(16, 32, 3, groups=16, key=keys[1]),
            eqx.nn.Lambda(jax.nn.relu),
            eqx.nn.ConvTranspose2d(32, 8, 2, 2, key=keys[2]),
            eqx.nn.Lambda(lambda x: x.mean((1, 2))),
            eqx.nn.Linear(8, 10, key=keys[3]),
            eqx.nn.LayerNorm(10),
        ]
    )
    images = Struct((2, 3, 32, 32) if vmapped else (3, 32, 32), jnp.float32)
    call = (lambda m, x: jax.vmap(m)(x)) if vmapped else (lambda m, x: m(x))
    table = cnnjax.summary(lambda x: call(model, x), images) if captured else cnnjax.summary(call, model, images)
    assert table.num_parameters == sum(a.size for a in jax.tree.leaves(model) if eqx.is_array(a))
    assert [(row.kind, row.maps, row.size, row.reads) for row in table.rows] == [
        ("Conv2D", 16, (16, 16), "all"),
        ("Norm", 16, (16, 16), ""),
        ("MaxPool2D", 16, (8, 8), "one"),
        ("Conv2D", 32, (6, 6), "one"),
        ("Conv2DTranspose", 8, (12, 12), "all"),
        ("GlobalAvgPool", 8, (), "one"),
        ("Dense", 10, (), "all"),
        ("Norm", 10, (), ""),
    ]
    examples = 2 if vmapped else 1
    macs = 16 * 16 * 16 * 3 * 49 + 6 * 6 * 32 * 9 + 6 * 6 * 4 * 32 * 8 + 80
    assert table.num_macs == examples * macs


def test_keras(as_users_have_it):
    keras = pytest.importorskip("keras")
    layers = keras.layers
    x = keras.Input((16, 16, 3))
    y = layers.MaxPooling2D(2)(layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 3)(x))))
    y = layers.GlobalAveragePooling2D()(layers.DepthwiseConv2D(3, use_bias=False)(y))
    model = keras.Model(x, layers.Dense(5, name="scores")(y))
    images = Struct((1, 16, 16, 3), jnp.float32)
    variables = [[v.value for v in vs] for vs in (model.trainable_variables, model.non_trainable_variables)]
    for table in (
        cnnjax.summary(lambda x: model(x, training=False), images),
        cnnjax.summary(lambda t, n, x: model.stateless_call(t, n, x, training=False), *variables, images),
    ):
        assert table.num_parameters + table.num_statistics == model.count_params()
        assert table.num_statistics == 16
        kinds = ["Conv2D", "Norm", "MaxPool2D", "Conv2D", "GlobalAvgPool", "Dense"]
        assert [row.kind for row in table.rows] == kinds
        assert table.rows[-1].name.endswith("scores")
        assert table.num_macs == 14 * 14 * 27 * 8 + 5 * 5 * 9 * 8 + 40


def test_flax_nnx_with_a_table_that_is_used_twice(as_users_have_it):
    nnx = pytest.importorskip("flax.nnx")

    class Block(nnx.Module):
        def __init__(self, rngs):
            self.embed = nnx.Embed(100, 16, rngs=rngs)
            self.position = nnx.Param(jnp.zeros((8, 16)))
            self.norm = nnx.LayerNorm(16, rngs=rngs)
            self.attention = nnx.MultiHeadAttention(4, 16, decode=False, rngs=rngs)
            self.last = nnx.RMSNorm(16, rngs=rngs)

        def __call__(self, tokens):
            x = self.embed(tokens) + self.position[...]
            return self.embed.attend(self.last(x + self.attention(self.norm(x))))

    graph, params = nnx.split(Block(nnx.Rngs(0)))
    tokens = Struct((2, 8), jnp.int32)
    table = cnnjax.summary(lambda params, tokens: nnx.merge(graph, params)(tokens), params, tokens)
    assert table.num_parameters == sum(a.size for a in jax.tree.leaves(params))
    assert sum(row.num_parameters for row in table.rows) == table.num_parameters + 1600
    kinds = ["Embedding", "Affine", "Norm", *["Dense"] * 3, "Product", "Product", "Dense", "Norm", "Dense"]
    assert [row.kind for row in table.rows] == kinds
    assert table.rows[3].name == "attention/query/kernel"
    assert table.num_macs == 2 * 8 * (4 * 16 * 16 + 2 * 8 * 16 + 16 * 100)


def strided(params, x):
    x = lax.conv_general_dilated(x, params["a"], (2, 1), "VALID", dimension_numbers=NHWC, rhs_dilation=(1, 2))
    x = lax.conv_general_dilated(x, params["b"], (1, 1), "VALID", dimension_numbers=NHWC, feature_group_count=2)
    return (
        lax.conv_general_dilated(x, params["c"], (4, 6), "VALID", dimension_numbers=NHWC).reshape(2, -1) @ params["d"]
    )


STRIDED = {"a": (5, 3, 3, 8), "b": (3, 3, 4, 6), "c": (3, 2, 6, 8), "d": (224, 10)}


def test_multiply_accumulates_are_half_of_the_operations_that_xla_counts():
    params = {name: Struct(shape, jnp.float32) for name, shape in STRIDED.items()}
    x = Struct((2, 41, 45, 3), jnp.float32)
    table = cnnjax.summary(strided, params, x)
    assert 2 * table.num_macs == jax.jit(strided).lower(params, x).cost_analysis()["flops"]
    assert [row.name for row in table.rows] == ["a", "b", "c", "d"]
    assert [row.kernel for row in table.rows] == [(5, 3), (3, 3), (3, 2), (4, 7)]


def test_a_program_of_seventy_billion_parameters_is_only_traced(as_users_have_it):
    layers, width, heads, inner, vocabulary, length = 80, 8192, 64, 28_672, 128_256, 64
    shapes = {"q": (width, width), "k": (width, 1024), "v": (width, 1024), "o": (width, width)}
    shapes |= {"gate": (width, inner), "up": (width, inner), "down": (inner, width), "n1": (width,), "n2": (width,)}
    params = {name: Struct((layers, *shape), jnp.bfloat16) for name, shape in shapes.items()}
    ends = {"embed": (vocabulary, width), "norm": (width,), "out": (width, vocabulary)}
    ends = {name: Struct(shape, jnp.bfloat16) for name, shape in ends.items()}

    def normalised(x, scale):
        return x * lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-5) * scale[None, None]

    def layer(x, p):
        y = normalised(x, p["n1"])
        heads_of = lambda name: (y @ p[name]).reshape(1, length, -1, width // heads)  # noqa: E731
        attended = jax.nn.dot_product_attention(heads_of("q"), heads_of("k"), heads_of("v"), is_causal=True)
        x = x + attended.reshape(1, length, width) @ p["o"]
        y = normalised(x, p["n2"])
        return x + (jax.nn.silu(y @ p["gate"]) * (y @ p["up"])) @ p["down"]

    def scanned(params, ends, tokens):
        x = ends["embed"][tokens]
        x, _ = lax.scan(lambda x, p: (jax.checkpoint(layer)(x, p), None), x, params)
        return normalised(x, ends["norm"]) @ ends["out"]

    def looped(params, ends, tokens):
        step = lambda i, x: layer(x, jax.tree.map(lambda a: a[i], params))  # noqa: E731
        x = lax.fori_loop(0, layers, step, ends["embed"][tokens])
        return normalised(x, ends["norm"]) @ ends["out"]

    tokens = Struct((1, length), jnp.int32)
    table = cnnjax.summary(scanned, params, ends, tokens)
    assert table.num_parameters == 70_553_706_496
    in_layers = sum(np.prod(shape) for name, shape in shapes.items() if len(shape) == 2) * layers
    attention = 2 * layers * length**2 * width
    assert table.num_macs == length * (in_layers + width * vocabulary) + attention
    assert table.rows[2].name == "q"
    assert table.rows[2].times == layers
    again = cnnjax.summary(looped, params, ends, tokens)
    assert (again.num_parameters, again.num_macs) == (table.num_parameters, table.num_macs)


# --- receptive fields


def branches(params, x):
    x = lax.conv_general_dilated(x, params["stem"], (2, 2), [(2, 1), (0, 2)], dimension_numbers=NHWC)
    wide = lax.conv_general_dilated(x, params["wide"], (1, 1), "SAME", rhs_dilation=(2, 1), dimension_numbers=NHWC)
    pooled = lax.reduce_window(x, 0.0, lax.add, (1, 3, 2, 1), (1, 1, 1, 1), "SAME")
    return jnp.concatenate([x + wide, pooled], axis=-1)[:, 1::3, 2:-1:2]


def test_the_receptive_field_over_branches_is_that_of_the_widest_and_what_a_unit_reads():
    params = {"stem": jnp.ones((3, 4, 1, 2)), "wide": jnp.ones((3, 5, 2, 2))}
    x = jnp.ones((1, 60, 64, 1))
    last = lambda params, x: cnnjax.conv2d(branches(params, x), jnp.ones((2, 1, 4, 1)), stride=(1, 2))  # noqa: E731
    row = cnnjax.summary(last, params, x).rows[-1]
    y = jax.eval_shape(last, params, x)
    i, j = y.shape[1] // 2, y.shape[2] // 2
    middle = lambda x: last(params, x)[0, i : i + 2, j : j + 2, 0]  # noqa: E731
    felt = np.any(np.asarray(jax.jit(jax.jacrev(middle))(x))[:, :, 0] != 0, axis=-1)
    for axis in range(2):
        first, second = (np.flatnonzero(felt[k, k].any(axis=1 - axis)) for k in range(2))
        assert row.receptive_field[axis] == first[-1] - first[0] + 1
        assert row.jump[axis] == second[0] - first[0]


# --- what it is called with

PRINTED = """
network
layer       kind    input     output   kernel  reads  parameters  connections  mult-adds  share  field  jump
------------------------------------------------------------------------------------------------------------
c1          Conv2D  1 @ 9x12  4 @ 4x5  3x3     all            40          800        720  14.3%    3x3     2
again (x3)  Conv2D  4 @ 4x5   4 @ 4x5  3x3     1/2            72        4,320      4,320  85.7%    7x7     2
------------------------------------------------------------------------------------------------------------
total                                                        112        5,120      5,040
"""


def test_the_table():
    def network(params, x):
        with jax.named_scope("c1"):
            x = jax.nn.relu(cnnjax.conv2d(x, params["w"], params["b"], stride=2))
        return lax.fori_loop(0, 3, lambda i, x: cnnjax.conv2d(x, params["again"], padding="SAME", groups=2), x)

    shapes = {"w": (3, 3, 1, 4), "b": (4,), "again": (3, 3, 2, 4)}
    params = {name: Struct(shape, jnp.float32) for name, shape in shapes.items()}
    table = cnnjax.summary(network, params, Struct((1, 9, 12, 1), jnp.float32))
    assert str(table) == PRINTED.strip("\n")


def test_settings_are_passed_on_and_a_single_array_is_named_by_its_argument():
    def layer(x, w, *, stride):
        return cnnjax.conv2d(x, w, stride=stride)

    table = cnnjax.summary(layer, jnp.ones((1, 8, 8, 2)), jnp.ones((3, 3, 2, 4)), stride=2)
    (row,) = table.rows
    assert (row.name, row.weights, row.size, row.num_parameters) == ("w", ("w",), (3, 3), 72)


def test_any_callable_is_a_function():
    class Model:
        def __call__(self, x):
            return cnnjax.conv2d(x, jnp.ones((3, 3, 2, 4)))

    assert cnnjax.summary(Model(), jnp.ones((1, 8, 8, 2))).name == "Model"


def test_a_gradient_counts_the_three_directions_and_no_parameter_twice():
    network = cnnjax.models.lenet5()
    params = jax.eval_shape(network.init, jax.random.key(0))
    loss = lambda params, x: network.apply(params, x).sum()  # noqa: E731
    table = cnnjax.summary(jax.grad(loss), params, Struct((1, 32, 32, 1), jnp.float32))
    assert table.num_parameters == 60_000
    forward = sum(row.num_macs for row in cnnjax.summary(network).rows)
    dense, c1, without_gradient = 10_080, 117_600, 1_176 + 400 + 840
    assert table.num_macs == 3 * (forward - without_gradient) + without_gradient - c1
    assert table.num_macs == sum(row.num_macs for row in table.rows)
    assert [row.num_macs for row in table.rows if row.name == "f6"] == [dense]


def test_a_table_of_connections():
    table = tables.from_rows([[0], [0, 1], [1]], 2)
    params = jnp.ones((3, 3, 2, 3))
    f = lambda w, x: cnnjax.conv2d(x, w, connections=table)  # noqa: E731
    row = cnnjax.summary(f, params, jnp.ones((1, 5, 5, 2))).rows[0]
    assert (row.reads, row.num_parameters, row.num_macs) == ("by table", 36, 36 * 9)
    assert row.connection_table() == table


def test_a_network_with_arguments_is_refused():
    with pytest.raises(
        ArgumentTypeError, match=r"summary: `f` is a cnnjax Network, with arguments; expected a Network"
    ):
        cnnjax.summary(cnnjax.models.lenet5(), jnp.ones((1, 32, 32, 1)))


def test_a_function_that_returns_no_array_is_refused():
    with pytest.raises(
        ArgumentTypeError, match=r"summary: `network` is an object of type function; expected a cnnjax Network\. Fix"
    ):
        cnnjax.summary(lambda x: None, jnp.ones(3))
