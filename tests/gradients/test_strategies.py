"""How a function is run, and what it sees of the configuration."""

import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.gradients.strategies import STRATEGIES, float64_enabled, float64_enabled_in_all_threads


@pytest.mark.usefixtures("float32_world")
def test_what_each_strategy_gives_the_function():
    for strategy in STRATEGIES:
        with strategy.context():
            assert strategy.vector(np.ones(2)).dtype == (np.float64 if strategy.widened else np.float32)
    assert [strategy.epsilon < 1e-10 for strategy in STRATEGIES] == [True, True, True, False]


@pytest.mark.usefixtures("float32_world")
@pytest.mark.parametrize("context", [float64_enabled, float64_enabled_in_all_threads])
def test_the_configuration_is_restored_even_after_an_error(context):
    def fail():
        with context():
            assert jnp.result_type(float) == np.float64
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert jnp.result_type(float) == np.float32
