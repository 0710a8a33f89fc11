"""Parameters from PyTorch and back: names, layouts, files, and errors that name both sides."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import normal

from cnnjax import Input, Network, interop, models
from cnnjax.errors import ArgumentTypeError, ArgumentValueError, MissingExtraError
from cnnjax.layers import RBF, BatchNorm, Conv2D, Dense, LayerScale, MaxPool2D, PixelDense, PReLU

SHAPES_FILE = Path(__file__).resolve().parents[2] / "shared" / "reference" / "param_shapes.json"

NETWORK = Network(
    "small",
    Input((6, 7, 3)),
    {
        "features.0": Conv2D(4, 3, groups=1, bias=False),
        "features.1": BatchNorm(activation="relu"),
        "scale": LayerScale(),
        "pool": MaxPool2D(2),
        "mix": PixelDense(6),
        "prelu": PReLU(),
        "fc1": Dense(5),
        "fc1.prelu": PReLU(),
        "fc2": Dense(2),
    },
)
SHAPES = {
    "features.0.weight": (4, 3, 3, 3),
    "features.1.weight": (4,),
    "features.1.bias": (4,),
    "features.1.running_mean": (4,),
    "features.1.running_var": (4,),
    "scale": (4, 1, 1),
    "mix.weight": (6, 4),
    "mix.bias": (6,),
    "prelu.weight": (6,),
    "fc1.weight": (5, 6 * 2 * 2),
    "fc1.bias": (5,),
    "fc1.prelu.weight": (5,),
    "fc2.weight": (2, 5),
    "fc2.bias": (2,),
}
STATE = {name: np.abs(normal(shape, name)) for name, shape in SHAPES.items()}


def forward_in_pytorch(torch, state, x):
    functional = torch.nn.functional
    state = {name: torch.as_tensor(np.asarray(array)) for name, array in state.items()}
    moments = state["features.1.running_mean"], state["features.1.running_var"]
    x = functional.conv2d(torch.from_numpy(np.moveaxis(x, -1, 1).copy()), state["features.0.weight"])
    x = functional.batch_norm(x, *moments, state["features.1.weight"], state["features.1.bias"]).relu()
    x = functional.max_pool2d(x * state["scale"], 2).movedim(1, -1)
    x = functional.linear(x, state["mix.weight"], state["mix.bias"]).movedim(-1, 1)
    x = functional.prelu(x, state["prelu.weight"])
    x = functional.linear(x.flatten(1), state["fc1.weight"], state["fc1.bias"])
    x = functional.prelu(x, state["fc1.prelu.weight"])
    return functional.linear(x, state["fc2.weight"], state["fc2.bias"])


@pytest.mark.skipif(not SHAPES_FILE.exists(), reason="../shared/reference is not beside the checkout")
def test_the_tensors_of_published_networks_have_the_names_and_shapes_of_torchvision_and_timm():
    for name, published in json.loads(SHAPES_FILE.read_text()).items():
        network = getattr(models, name.removesuffix("_timm"))()
        params = jax.eval_shape(network.init, jax.random.key(0))
        zeros = jax.tree.map(lambda like: np.broadcast_to(np.float32(0), like.shape), params)
        arrays = interop.to_torch(network, zeros).items()
        assert {key: list(array.shape) for key, array in arrays if "running" not in key} == dict(published), name


def test_a_network_computes_what_the_modules_of_its_names_do():
    torch = pytest.importorskip("torch")
    params, x = interop.from_torch(NETWORK, STATE), normal((2, 6, 7, 3), "images")
    np.testing.assert_allclose(NETWORK.apply(params, x), forward_in_pytorch(torch, STATE, x), rtol=1e-10, atol=1e-12)


def test_there_and_back_nothing_changes():
    back = interop.to_torch(NETWORK, interop.from_torch(NETWORK, STATE))
    assert {name: array.shape for name, array in back.items()} == SHAPES
    assert all(np.array_equal(back[name], STATE[name]) and back[name].flags.c_contiguous for name in SHAPES)


def test_tensors_and_counters_are_accepted():
    torch = pytest.importorskip("torch")
    tensors = {name: torch.from_numpy(array).requires_grad_() for name, array in STATE.items()}
    tensors["features.1.num_batches_tracked"] = torch.tensor(7)
    params = interop.from_torch(NETWORK, tensors)
    assert jax.tree.all(jax.tree.map(np.array_equal, params, interop.from_torch(NETWORK, STATE)))
    halves = {name: array.detach().to(torch.bfloat16) for name, array in tensors.items()}
    assert interop.from_torch(NETWORK, halves)["fc2"]["b"].dtype == jnp.float32


def test_a_safetensors_file_is_read(tmp_path, monkeypatch):
    safetensors = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "small.safetensors"
    safetensors.save_file(STATE, path)
    expected = interop.from_torch(NETWORK, STATE)
    for given in (path, str(path)):
        assert jax.tree.all(jax.tree.map(np.array_equal, interop.from_torch(NETWORK, given), expected))
    monkeypatch.setitem(__import__("sys").modules, "safetensors.numpy", None)
    with pytest.raises(MissingExtraError, match=r"cnnjax\[interop\]"):
        interop.from_torch(NETWORK, path)


def without(name):
    return {key: array for key, array in STATE.items() if key != name}


@pytest.mark.parametrize(
    ("state", "error", "words"),
    [
        (without("fc2.bias"), ArgumentValueError, "without fc2.bias; expected the 14 names of small"),
        ({**STATE, "aux.weight": np.zeros(3)}, ArgumentValueError, "with aux.weight, which small does not have"),
        (
            {**without("fc1.weight"), "fc1.kernel": np.zeros(3)},
            ArgumentValueError,
            "without fc1.weight and with fc1.kernel, which",
        ),
        (
            {**STATE, "fc2.weight": np.zeros((3, 5))},
            ArgumentValueError,
            r"`state_dict\['fc2.weight'\]` is .*\(3, 5\); expected shape \(2, 5\), for params\['fc2'\]\['w'\]",
        ),
        (
            {f"module.{name}": array for name, array in STATE.items()},
            ArgumentValueError,
            "and 9 more and with module.features.0.weight",
        ),
        (list(STATE), ArgumentTypeError, "a mapping of names to arrays"),
    ],
)
def test_a_state_that_is_not_of_the_network_is_refused(state, error, words):
    with pytest.raises(error, match=words):
        interop.from_torch(NETWORK, state)


def test_layers_that_pytorch_does_not_have_are_named():
    network = Network("near", Input((1, 1, 3)), {"rbf": RBF(((1, -1, 1), (-1, 1, 1)), trainable=True)})
    with pytest.raises(ArgumentTypeError, match="from_torch: `rbf` is RBF"):
        interop.from_torch(network, {})
    with pytest.raises(ArgumentValueError, match="to_torch: `params`"):
        interop.to_torch(NETWORK, {})
