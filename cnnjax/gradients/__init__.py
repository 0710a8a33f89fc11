"""Gradient verification: is the derivative that JAX gives for a function the derivative of that function?"""

from cnnjax.gradients.check import check_grads
from cnnjax.gradients.report import Check, GradientReport, Wrong

__all__ = ["Check", "GradientReport", "Wrong", "check_grads"]
