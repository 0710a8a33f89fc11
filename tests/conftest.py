"""Strict numerics for every test: float64 is available, and nothing is promoted or broadcast implicitly."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Most of the suite's time is compilation of small programs. XLA splits each into up to 32 modules that it compiles in
# parallel; where the tests already run in parallel, a single module takes about 7 % less.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_parallel_codegen_split_count=1")

import hypothesis
import jax
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

hypothesis.settings.register_profile(
    "cnnjax", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("cnnjax")


@pytest.fixture
def float32_world():
    """JAX as a user finds it: 64-bit types off."""
    jax.config.update("jax_enable_x64", False)
    yield
    jax.config.update("jax_enable_x64", True)
