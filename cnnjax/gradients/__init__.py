"""Gradient verification: is the derivative that JAX computes for a function the derivative of that function?"""

from cnnjax._core.lazy import lazy_submodules
from cnnjax.gradients.check import check_grads
from cnnjax.gradients.report import Check, GradientReport, Taylor, Wrong

__all__ = ["Check", "GradientReport", "Taylor", "Wrong", "check_grads"]

__getattr__ = lazy_submodules(__name__, "pytest_plugin")
