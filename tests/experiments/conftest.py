"""Experiments run as a user would run them: importable from each other, 64-bit types off, ordinary promotion."""

import importlib
from pathlib import Path

import jax
import pytest

SCRIPTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture
def experiment(monkeypatch):
    """Import an experiment by its name, in the numerics of a user."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield importlib.import_module
