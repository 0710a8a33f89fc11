"""Fixtures shared by the tests of training."""

import jax
import pytest
from toy_runs import make_digits, make_network, run

from cnnjax import training


@pytest.fixture
def standard_promotion():
    """optax multiplies weak floats with integer step counts, which strict promotion refuses."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture
def digits():
    return make_digits()


@pytest.fixture
def network():
    return make_network()


@pytest.fixture
def uninterrupted(standard_promotion, network, digits):
    return run(network, digits, augment=training.random_shift)
