"""Programs are compiled again with optimization once they have run for long, and give the same either way."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.gradients import executable
from cnnjax.gradients.executable import Executable


@pytest.mark.parametrize("patience", [0.0, np.inf], ids=["at once", "never"])
def test_it_is_optimized_when_patience_is_over(patience, monkeypatch):
    monkeypatch.setattr(executable, "_PATIENCE", patience)
    run = Executable(jax.jit(lambda x, y: jnp.sin(x) * y))
    x = np.linspace(-1, 1, 5)
    found = [run(x, np.float64(k)) for k in range(4)]
    np.testing.assert_allclose(found, [np.sin(x) * k for k in range(4)], rtol=1e-14)
    assert (run._lowered is None) == (patience == 0)
