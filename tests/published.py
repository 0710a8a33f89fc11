"""What holds for every published network: counts, and outputs and training steps equal to those of PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import normal
from torchvision_oracle import assert_close, to_tensor

from cnnjax import interop
from cnnjax.layers import summary


def check_counts(network, parameters, billions):
    """The parameters, and 10^9 multiply-accumulates to the digits in which they are published."""
    counted = summary.summary(network)
    assert counted.num_parameters == parameters
    assert counted.num_macs / 1e9 == pytest.approx(billions, abs=6e-4)


def check_outputs(network, module):
    """Of two random images in evaluation mode; and the parameters survive the way there and back."""
    params = interop.from_torch(network, module.state_dict())
    images = normal((2, *network.input.shape), network.name, "float32")
    assert_close(jax.jit(network.apply)(params, images), module(to_tensor(images)))
    back = interop.to_torch(network, params)
    expected = {key: value for key, value in module.state_dict().items() if not key.endswith("num_batches_tracked")}
    assert back.keys() == expected.keys()
    assert all(np.array_equal(back[key], value.numpy()) for key, value in expected.items())


def check_training_step(network, module):
    """The loss, fresh statistics and gradients; in float64, as rounding may move a rectifier's input across zero."""
    torch = pytest.importorskip("torch")
    module = module.double().train()
    params = interop.from_torch(network, module.state_dict())
    images, labels = normal((4, *network.input.shape), network.name), np.array([1, 0, 7, 3])

    def loss(params):
        scores, fresh = network.apply_training(params, images)
        return -jnp.mean(jax.nn.log_softmax(scores)[jnp.arange(4), labels]), fresh

    (value, fresh), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    expected = torch.nn.functional.cross_entropy(module(to_tensor(images)), torch.from_numpy(labels))
    expected.backward()
    np.testing.assert_allclose(value, expected.item(), rtol=1e-9)
    theirs = module.state_dict()
    for key, ours in interop.to_torch(network, fresh).items():
        assert_close(ours, theirs[key], 1e-9)
    gradients = interop.to_torch(network, gradient)
    for key, weight in module.named_parameters():
        assert_close(gradients[key], weight.grad, 1e-9)
    assert all(np.all(value == 0) for key, value in gradients.items() if "running" in key)
