"""Examples in docstrings run as a user would run them: 64-bit types off, JAX's ordinary promotion."""

import jax
import pytest
from _pytest.doctest import DoctestItem


@pytest.fixture(autouse=True)
def numerics_of_a_user(request):
    """Undo the strict numerics of tests/conftest.py for a doctest."""
    if not isinstance(request.node, DoctestItem):
        yield
        return
    with (
        jax.enable_x64(False),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
    ):
        yield
