"""What holds for every published network: counts, and outputs and training steps equal to those of PyTorch."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import normal
from torchvision_oracle import assert_close, build, to_tensor

import cnnjax
from cnnjax import interop
from cnnjax.layers import Dropout, StochasticDepth, summary


def run(f, *args):
    """The results of a function, compiled with hardly any optimization: that takes a quarter of the time."""
    little = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
    return jax.jit(f).lower(*args).compile(compiler_options=little)(*args)


def check_counts(network, parameters, billions):
    """The parameters, and 10^9 multiply-accumulates to the published digits; and both as read from the jaxpr."""
    counted = summary.summary(network)
    assert counted.num_parameters == parameters
    assert counted.num_macs / 1e9 == pytest.approx(billions, abs=6e-4)
    params = jax.eval_shape(network.init, jax.random.key(0))
    read = cnnjax.summary(network.apply, params, jax.ShapeDtypeStruct((1, *network.input.shape), jnp.float32))
    assert (read.num_parameters, read.num_macs) == (counted.num_parameters, counted.num_macs)
    assert read.num_connections == counted.num_connections


def check_names(network, name):
    """The names and shapes of torchvision's parameters and statistics, without drawing them."""
    torch = pytest.importorskip("torch")
    with torch.device("meta"):
        module = build(name)
    expected = {key: tuple(value.shape) for key, value in module.state_dict().items() if "num_batches" not in key}
    params = jax.eval_shape(network.init, jax.random.key(0))
    zeros = jax.tree.map(lambda like: np.broadcast_to(np.float32(0), like.shape), params)
    assert {key: array.shape for key, array in interop.to_torch(network, zeros).items()} == expected


def check_outputs(network, module):
    """Of two random images in evaluation mode; and the parameters survive the way there and back."""
    params = interop.from_torch(network, module.state_dict())
    images = normal((2, *network.input.shape), network.name, "float32")
    assert_close(run(network.apply, params, images), module(to_tensor(images)))
    back = interop.to_torch(network, params)
    expected = {key: value for key, value in module.state_dict().items() if not key.endswith("num_batches_tracked")}
    assert back.keys() == expected.keys()
    assert all(np.array_equal(back[key], value.numpy()) for key, value in expected.items())


def check_training_step(network, module):
    """The loss, fresh statistics and gradients; in float64, as rounding may move a rectifier's input across zero."""
    torch = pytest.importorskip("torch")
    module = module.double().train()
    for part in module.modules():
        if type(part).__name__ in ("Dropout", "StochasticDepth"):
            part.p = 0.0
    noise = Dropout, StochasticDepth
    layers = [(name, type(layer)(0.0) if isinstance(layer, noise) else layer) for name, layer in network.layers]
    network = dataclasses.replace(network, layers=layers)
    params = interop.from_torch(network, module.state_dict())
    images, labels = normal((4, *network.input.shape), network.name), np.array([1, 0, 7, 3])

    def loss(params):
        scores, fresh = network.apply_training(params, images, jax.random.key(0))
        return -jnp.mean(jax.nn.log_softmax(scores)[jnp.arange(4), labels]), fresh

    (value, fresh), gradient = run(jax.value_and_grad(loss, has_aux=True), params)
    expected = torch.nn.functional.cross_entropy(module(to_tensor(images)), torch.from_numpy(labels))
    expected.backward()
    np.testing.assert_allclose(value, expected.item(), rtol=1e-9)
    theirs = module.state_dict()
    for key, ours in interop.to_torch(network, fresh).items():
        assert_close(ours, theirs[key], 1e-9)
    gradients = interop.to_torch(network, gradient)
    largest = max(float(weight.grad.abs().max()) for weight in module.parameters())
    for key, weight in module.named_parameters():  # some are zero: a normalisation undoes the bias before it
        np.testing.assert_allclose(gradients[key], weight.grad, rtol=1e-7, atol=1e-10 * largest)
    assert all(np.all(value == 0) for key, value in gradients.items() if "running" in key)
