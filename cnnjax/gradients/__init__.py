"""Gradient verification: is the derivative that JAX gives for a function the derivative of that function?"""

from cnnjax.gradients.check import check_grads
from cnnjax.gradients.report import Check, GradientReport, Taylor, Wrong

__all__ = ["Check", "GradientReport", "Taylor", "Wrong", "check_grads"]
