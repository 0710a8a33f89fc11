"""Parameters that do not fit raise one error that names them; those of other libraries are recognised."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import normal

import cnnjax
from cnnjax import Input, Network
from cnnjax.errors import ArgumentTypeError, ArgumentValueError
from cnnjax.layers import RBF, AvgPool2D, Conv2D, Dense, MaxPool2D, Subsample2D
from cnnjax.training import precision

NETWORK = Network(
    "net",
    Input((12, 12, 1)),
    {"c1": Conv2D(4, 3, padding="SAME"), "pool": MaxPool2D(2), "sub": Subsample2D(2), "out": Dense(5)},
)
PARAMS = jax.tree.map(np.asarray, NETWORK.init(jax.random.key(0)))
IMAGES = np.ones((2, 12, 12, 1), np.float32)
W, B = PARAMS["c1"]["w"], PARAMS["c1"]["b"]


def c1(**changed):
    return {**PARAMS, "c1": {**PARAMS["c1"], **changed}}


def only_c1(**own):
    return {**PARAMS, "c1": own}


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


SHAPE = r"expected shape \(3, 3, 1, 4\), for this Conv2D on an input of shape \(12, 12, 1\)"

VALUE, TYPE = ArgumentValueError, ArgumentTypeError

UNFIT = {
    "a key of flax": (
        only_c1(kernel=W, bias=B),
        VALUE,
        r"`params\['c1'\]` is with keys \['bias', 'kernel'\], the names of flax and Keras; expected the keys "
        r"\['b', 'w'\]. Fix: pass {'w': params\['c1'\]\['kernel'\], 'b': params\['c1'\]\['bias'\]}",
    ),
    "one key of flax": (
        only_c1(w=W, bias=B),
        VALUE,
        r"is with keys \['bias', 'w'\]; .* pass {'w': params\['c1'\]\['w'\], 'b': params\['c1'\]\['bias'\]}",
    ),
    "no bias": (
        only_c1(w=W),
        VALUE,
        r"is with keys \['w'\]; .* add 'b', an array of shape \(4,\), or .*=F",
    ),
    "no weights": (
        only_c1(b=B),
        VALUE,
        r"is with keys \['b'\]; .* add 'w', an array of shape \(3, 3, 1, 4\)",
    ),
    "one more": (c1(gamma=B), VALUE, r"is with keys \['b', 'gamma', 'w'\]; .* Fix: remove 'gamma'"),
    "another kernel": (
        c1(w=zeros(5, 5, 1, 4)),
        VALUE,
        rf"\['w'\]` is an array of shape \(5, 5, 1, 4\).*{SHAPE}",
    ),
    "no axis of maps": (
        c1(w=zeros(3, 3, 4)),
        VALUE,
        r"other axes of size 1; .* pass .*\.reshape\(3, 3, 1, 4\)",
    ),
    "PyTorch's order": (
        c1(w=zeros(4, 1, 3, 3)),
        VALUE,
        rf"which looks like \(C_out, C_in / groups, k_h, k_w\), the layout of PyTorch; {SHAPE}.*pose\(2, 3, 1, 0\)",
    ),
    "TensorFlow Lite's order": (c1(w=zeros(4, 3, 3, 1)), VALUE, r"Lite and MLX;.*transpose\(1, 2, 3, 0\)"),
    "a bias as in Equinox": (c1(b=zeros(4, 1, 1)), VALUE, r"pass params\['c1'\]\['b'\].reshape\(4\)"),
    "a scalar bias": (
        c1(b=np.float32(0)),
        VALUE,
        r"\['b'\]` is an array of shape \(\) .* expected shape \(4,\)",
    ),
    "several networks": (
        jax.tree.map(lambda a: np.stack([a] * 3), PARAMS),
        VALUE,
        r"looks like the parameters of 3 networks; .* Fix: pass one network, or use jax.vmap over the networks",
    ),
    "sub-sampling of other maps": (
        {**PARAMS, "sub": {"w": zeros(6), "b": zeros(6)}},
        VALUE,
        r"params\['sub'\]\['w'\]` is an array of shape \(6,\) .* expected shape \(4,\), for this Subsample2D",
    ),
    "a transposed matrix": (
        {**PARAMS, "out": {"w": PARAMS["out"]["w"].T, "b": PARAMS["out"]["b"]}},
        VALUE,
        r"\(units, C \* H \* W\) with \(C, H, W\) = \(4, 3, 3\); expected shape \(36, 5\), for this Dense on "
        r"an input of shape \(3, 3, 4\)\. Fix: pass params\['out'\]\['w'\]\.reshape\(5, 4, 3, 3\)\.transpose"
        r"\(2, 3, 1, 0\)\.reshape\(36, 5\), or params\['out'\]\['w'\]\.T if its columns are in the order \(H, W, C\)",
    ),
    "no array": (c1(b=None), TYPE, r"`params\['c1'\]\['b'\]` is None; expected an array of shape \(4,\)"),
    "a list": (
        c1(b=[0.0] * 4),
        TYPE,
        r"is a list of 4 items; .* Fix: pass jnp.asarray\(params\['c1'\]\['b'\]",
    ),
    "a number": (c1(b=0.0), TYPE, r"is 0.0; expected an array of shape \(4,\)"),
    "a description": (
        c1(b=jax.ShapeDtypeStruct((4,), jnp.float32)),
        TYPE,
        "of type jax.*ShapeDtypeStruct",
    ),
    "objects": (
        c1(b=zeros(4, dtype=object)),
        TYPE,
        r"`params\['c1'\]\['b'\]` is of dtype object; expected",
    ),
    "half": (
        c1(b=zeros(4, dtype=np.float16)),
        TYPE,
        r"is of dtype float16; expected float32, ",
    ),
    "integers": (
        c1(w=zeros(3, 3, 1, 4, dtype=int)),
        TYPE,
        r"\['w'\]` is of dtype int64; expected float32",
    ),
    "a layer that is a list": (
        {**PARAMS, "c1": [W, B]},
        TYPE,
        r"`params\['c1'\]` is a list of 2 items; .* dict",
    ),
    "a layer that is None": (
        {**PARAMS, "c1": None},
        TYPE,
        r"`params\['c1'\]` is None; expected a dict with",
    ),
    "None": (None, TYPE, r"`params` is None; expected a dict"),
    "a list of layers": ([PARAMS], TYPE, r"`params` is a list of 1 items; .* network.init\(key\)"),
    "an additional layer": (
        {**PARAMS, "c2": {}},
        VALUE,
        r"`params` is with keys \['c1', 'c2', 'out', 'sub'\]; expected only the layers with parameters, "
        r"\['c1', 'sub', 'out'\]. Fix: remove 'c2'",
    ),
    "parameters of a pool": (
        {**PARAMS, "pool": {"w": B}},
        VALUE,
        r"`params\['pool'\]` is with keys \['w'\]; expected no parameters, as MaxPool2D has none here. Fix: remove 'w'",
    ),
    "a missing layer": (
        {"c1": PARAMS["c1"], "sub": PARAMS["sub"]},
        VALUE,
        r"`params` is with keys \['c1', 'sub'\]; expected the parameters of 'out' among them. Fix: draw",
    ),
    "a misnamed layer": (
        {"C1" if name == "c1" else name: own for name, own in PARAMS.items()},
        VALUE,
        r"expected the parameters of 'c1' among them. Fix: rename 'C1' to 'c1', if they are the same layers",
    ),
    "variables of flax": ({"params": PARAMS}, VALUE, r"Fix: pass params\['params'\], with the names of"),
    "one layer": (
        PARAMS["c1"],
        VALUE,
        r"with keys \['b', 'w'\]; expected the parameters of 'c1' among them",
    ),
}


@pytest.mark.parametrize(("params", "error", "words"), UNFIT.values(), ids=UNFIT)
def test_what_does_not_fit_is_one_error_that_names_it(params, error, words):
    with pytest.raises(error, match=f"^net.apply: .*{words}"):
        NETWORK.apply(params, IMAGES)


EVERYTHING_THAT_TAKES_PARAMETERS = {
    "volumes": NETWORK.volumes,
    "classify": NETWORK.classify,
    "jit": jax.jit(NETWORK.apply),
    "grad": jax.grad(lambda params, x: jnp.sum(NETWORK.apply(params, x))),
    "vmap": jax.vmap(NETWORK.apply, (None, 0)),
    "eval_shape": lambda params, x: jax.eval_shape(NETWORK.apply, params, x),
    "remat": jax.checkpoint(NETWORK.apply),
    "one image": lambda params, x: NETWORK.apply(params, x[0]),
    "16 bits": precision.with_compute_dtype(NETWORK, "bfloat16").apply,
    "decompose": lambda params, x: cnnjax.layers.anatomy.decompose(NETWORK, params, x[0], "c1"),
    "error_rate": lambda params, x: cnnjax.training.error_rate(
        NETWORK, params, zeros(2, 12, 12, dtype=np.uint8), zeros(2)
    ),
    "kernels": lambda params, x: cnnjax.figures.kernels(NETWORK, params, "c1"),
    "check_params": lambda params, x: NETWORK.check_params(params),
}


@pytest.mark.parametrize("use", EVERYTHING_THAT_TAKES_PARAMETERS.values(), ids=EVERYTHING_THAT_TAKES_PARAMETERS)
def test_everything_that_takes_parameters_checks_them(use):
    use(PARAMS, IMAGES)
    for params in (only_c1(w=W, bias=B), c1(w=zeros(5, 5, 1, 4)), {**PARAMS, "extra": {"w": W}}):
        with pytest.raises(ArgumentValueError, match=r"params"):
            use(params, IMAGES)


def test_what_fits_is_accepted_whatever_holds_it():
    expected = NETWORK.apply(PARAMS, IMAGES)
    for params in (jax.tree.map(jnp.asarray, PARAMS), {**PARAMS, "pool": {}}, dict(reversed(PARAMS.items()))):
        np.testing.assert_array_equal(NETWORK.apply(params, IMAGES), expected)
    stacked = jax.tree.map(lambda a: jnp.stack([a, a]), PARAMS)
    np.testing.assert_allclose(jax.vmap(NETWORK.apply, (0, None))(stacked, IMAGES)[1], expected, rtol=1e-6)
    NETWORK.check_params({**PARAMS, "pool": {}})


def test_a_network_without_parameters_takes_none():
    network = Network("pools", Input((4, 4, 1)), {"p": AvgPool2D(2), "rbf": RBF(((1, 0, 0, 1),))})
    assert network.init(jax.random.key(0)) == {}
    assert network.apply({}, zeros(1, 4, 4, 1)).shape == (1, 1)
    with pytest.raises(ArgumentValueError, match=r"`params\['rbf'\]` is with keys \['w'\]; expected no parameters"):
        network.apply({"rbf": {"w": zeros(1, 4)}}, zeros(1, 4, 4, 1))


def test_a_bias_for_a_layer_without_one():
    network = Network("n", Input((4, 4, 1)), {"c": Conv2D(2, 3, bias=False), "d": Dense(2, bias=False)})
    params = network.init(jax.random.key(0))
    for name in "cd":
        with pytest.raises(ArgumentValueError, match="remove 'b', or build the layer with bias=True"):
            network.apply({**params, name: {**params[name], "b": zeros(2)}}, zeros(1, 4, 4, 1))


LAYERS = {
    "conv": (Conv2D(4, 3), (6, 7, 2)),
    "conv, groups, no bias": (Conv2D(6, (3, 2), groups=2, bias=False), (6, 7, 4)),
    "sub": (Subsample2D(2), (6, 7, 2)),
    "pool": (AvgPool2D(2), (6, 7, 2)),
    "dense": (Dense(5), (2, 3, 4)),
    "rbf": (RBF(((1, -1, 1), (-1, 1, 1)), trainable=True), (3,)),
}


@pytest.mark.parametrize(("layer", "shape"), LAYERS.values(), ids=LAYERS)
def test_a_layer_outside_a_network_states_and_checks_its_own(layer, shape):
    params = layer.init(jax.random.key(0), shape, jnp.float32)
    assert layer.parameter_shapes(shape) == {key: value.shape for key, value in params.items()}
    x, name = jnp.ones((2, *shape), jnp.float32), type(layer).__name__
    layer.apply(params, x)
    with pytest.raises(ArgumentValueError, match=rf"^{name}.apply: `params` .*'beta'.* Fix: remove 'beta'"):
        layer.apply({**params, "beta": x}, x)
    for key, value in params.items():
        with pytest.raises(
            ArgumentValueError, match=rf"^{name}.apply: `params\['{key}'\]` is an array of shape .*expected"
        ):
            layer.apply({**params, key: jnp.concatenate([value, value])}, x)
        with pytest.raises(ArgumentValueError, match=rf"^{name}.apply: `params` is with keys"):
            layer.apply({other: value for other, value in params.items() if other != key}, x)
        with pytest.raises(
            ArgumentTypeError, match=rf"`params\['{key}'\]` is of dtype float64; expected float32, the dtype"
        ):
            layer.apply({**params, key: np.zeros(value.shape)}, x)


def test_the_layer_of_another_author_is_checked_as_far_as_it_states_its_parameters():
    class Scale:
        """One factor."""

        def init(self, key, shape, dtype):
            return {"scale": jnp.ones((), dtype)}

        def apply(self, params, x):
            return params["scale"] * x

        def output_shape(self, shape):
            return shape

        def counts(self, shape):
            return cnnjax.layers.Counts(1)

        def geometry(self, shape):
            return None

    network = Network("own", Input((2, 2, 1)), {"scale": Scale()})
    x = zeros(1, 2, 2, 1)
    assert network.apply(network.init(jax.random.key(0)), x).shape == (1, 2, 2, 1)
    with pytest.raises(ArgumentValueError, match="expected the parameters of 'scale' among them"):
        network.apply({}, x)


def test_the_advice_turns_the_weights_of_pytorch_into_ours():
    """A network of PyTorch, loaded under its names, then under ours: each error says what to pass instead."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    conv, depthwise, linear = torch.nn.Conv2d(2, 6, 3), torch.nn.Conv2d(6, 12, 3, groups=6), torch.nn.Linear(12 * 16, 5)
    x = normal((3, 8, 8, 2), "images").astype(np.float32)
    images = torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
    expected = linear(depthwise(conv(images)).flatten(1)).detach().numpy()
    network = Network("n", Input((8, 8, 2)), {"conv": Conv2D(6, 3), "dw": Conv2D(12, 3, groups=6), "linear": Dense(5)})
    theirs = {"conv": conv, "dw": depthwise, "linear": linear}
    params = {name: {k: v.detach().numpy() for k, v in m.named_parameters()} for name, m in theirs.items()}
    for name in theirs:
        with pytest.raises(ArgumentValueError, match="the names of PyTorch and Equinox") as raised:
            network.apply(params, x)
        advice = re.search(r"Fix: pass (\{.*\})\.$", str(raised.value))[1]
        by_name = {"w": params[name]["weight"], "b": params[name]["bias"]}
        with pytest.raises(ArgumentValueError, match="the layout of PyTorch") as raised:
            network.apply({**params, name: by_name}, x)
        params[name] = eval(advice, {"params": params})
        pass_this = re.search(r"Fix: pass ([^ ]*(?: \d+[,)][^ ]*)*?)(?:, or .*)?\.$", str(raised.value))[1]
        np.testing.assert_array_equal(eval(pass_this, {"params": {name: by_name}}), params[name]["w"])
    np.testing.assert_allclose(network.apply(params, x), expected, atol=1e-5)
