"""What several tests of gradient verification start from."""

import jax.numpy as jnp
import numpy as np
import pytest
from custom_rules import half_square

from cnnjax.errors import GradientError
from cnnjax.gradients import check_grads


@pytest.fixture(scope="session")
def reports():
    """The report of a right derivative, to order 2, and that of a wrong one."""
    x = np.array([1.0, -2.0, 3.0], np.float32)
    good = check_grads(jnp.tanh, (x,), 2)
    with pytest.raises(GradientError) as caught:
        check_grads(half_square, (x,))
    return good, caught.value.report
