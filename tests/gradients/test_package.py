"""The package's own convolutions, pools, losses and layers, verified with its own verifier."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cnnjax
from cnnjax import losses
from cnnjax.connections import LENET5_C3
from cnnjax.gradients import check_grads
from cnnjax.layers import Conv2D, Dense, Input, Network

RANDOM = np.random.default_rng(0)


def normal(*shape):
    return jnp.asarray(RANDOM.normal(size=shape))


CASES = {
    "circular, strided, with a bias": (
        lambda x, w, b: cnnjax.conv2d(x, w, b, stride=2, padding="CIRCULAR"),
        (normal(1, 5, 6, 2), normal(3, 2, 2, 3), normal(3)),
    ),
    "depthwise": (cnnjax.depthwise_conv2d, (normal(1, 4, 5, 3), normal(2, 3, 3, 2))),
    "groups, dilated": (
        lambda x, w: cnnjax.conv1d(x, w, groups=2, dilation=2, padding="SAME"),
        (normal(2, 6, 4), normal(3, 2, 4)),
    ),
    "Table I": (
        lambda x, w: cnnjax.conv2d(x, w, connections=LENET5_C3),
        (normal(1, 3, 3, 6), normal(2, 2, 6, 16)),
    ),
    "transpose": (lambda y, w: cnnjax.conv2d_transpose(y, w, stride=2), (normal(1, 3, 3, 2), normal(3, 3, 2, 2))),
    "local": (cnnjax.local_conv2d, (normal(1, 3, 3, 2), normal(2, 2, 2, 2, 2, 2))),
    "max-pooling, with ties": (cnnjax.max_pool2d, (jnp.round(normal(1, 4, 4, 2)),)),
    "L^3 pooling": (lambda x: cnnjax.lp_pool2d(x, 2, p=3.0), (normal(1, 4, 4, 2),)),
    "sub-sampling": (cnnjax.subsample2d, (normal(1, 4, 4, 2), normal(2), normal(2))),
    "MAP loss": (lambda y: losses.map_loss(y, jnp.array([1, 0])), (normal(2, 4) ** 2,)),
    "Winograd's form": (
        lambda x, w: cnnjax.conv2d(x, w, method="winograd4"),
        (normal(1, 6, 6, 2), normal(3, 3, 2, 2)),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_every_derivative_of_the_package_passes(name):
    function, arguments = CASES[name]
    assert check_grads(function, arguments).ok


def test_second_derivatives_of_a_convolution_pass():
    report = check_grads(lambda x, w: cnnjax.conv2d(x, w, padding=1), (normal(1, 3, 3, 1), normal(2, 2, 1, 2)), order=2)
    assert report.ok
    assert {check.order for check in report.checks} == {1, 2}


def test_the_report_says_how_each_tensor_of_a_network_fared():
    layers = {"c1": Conv2D(2, 3, activation="tanh"), "out": Dense(2)}
    network = Network("toy", Input((5, 5, 1)), layers)
    params = network.init(jax.random.key(0), jnp.float64)
    images = normal(2, 5, 5, 1)
    report = check_grads(lambda p: network.apply(p, images).sum(), (params,), modes=("rev",))
    names = {f"args[0][{name!r}][{key!r}]" for name, tensors in params.items() for key in tensors}
    assert set(report.leaves) == names
    assert all(0 <= worst <= 1 for worst in report.leaves.values())
