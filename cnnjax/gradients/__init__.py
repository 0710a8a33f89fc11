"""Gradient verification: compare the derivatives that JAX computes for a function with finite differences of it."""

from cnnjax._core.lazy import lazy_submodules
from cnnjax.gradients.check import check_grads
from cnnjax.gradients.report import Check, GradientReport, Mismatch, TaylorTest

__all__ = ["Check", "GradientReport", "Mismatch", "TaylorTest", "check_grads"]

__getattr__ = lazy_submodules(__name__, "pytest_plugin")
