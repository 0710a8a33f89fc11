"""Wrong derivatives in other libraries, each as a minimal program with the right value.

Every program leaves the derivative that JAX computes in ``found`` and the right one in ``truth``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One wrong derivative."""

    package: str
    """The distribution, as pip knows it."""
    title: str
    program: str
    truth: str
    """How the right value was found."""


FAULTS = (
    Fault(
        "tfp-nightly",
        "NoncentralChi2.log_prob: the derivative by df has the wrong sign and size",
        """
import jax, mpmath
from tensorflow_probability.substrates import jax as tfp

def density(df):
    bessel = mpmath.besseli(df / 2 - 1, mpmath.sqrt(0.7 * 1.3))
    return -mpmath.log(2) - (1.3 + 0.7) / 2 + (df / 4 - 0.5) * mpmath.log(1.3 / 0.7) + mpmath.log(bessel)

found = jax.grad(lambda df: tfp.distributions.NoncentralChi2(df, 0.7).log_prob(1.3))(3.0)
truth = mpmath.diff(density, 3)
""",
        "mpmath, from the density with the modified Bessel function of order df / 2 - 1",
    ),
    Fault(
        "tfp-nightly",
        "math.bessel_ive and math.bessel_kve: the derivative in the order is 0",
        """
import jax, mpmath
from tensorflow_probability.substrates import jax as tfp

found = jax.grad(tfp.math.bessel_ive)(1.9, 3.0)
truth = mpmath.diff(lambda v: mpmath.besseli(v, 3) * mpmath.exp(-3), 1.9)
""",
        "mpmath, from the definition",
    ),
    Fault(
        "jax",
        "scipy.special.spence: reverse mode gives NaN on (1, 2.5)",
        """
import jax, mpmath
from jax.scipy.special import spence

found = jax.grad(spence)(1.5)
truth = mpmath.log(1.5) / (1 - 1.5)
""",
        "the integrand of the definition, log(x) / (1 - x)",
    ),
    Fault(
        "jax",
        "scipy.special.spence: the derivative at 1 is 0 in both modes",
        """
import jax
from jax.scipy.special import spence

found = jax.grad(spence)(1.0)
truth = -1.0
""",
        "the limit of the integrand log(x) / (1 - x) at x = 1",
    ),
    Fault(
        "jax",
        "scipy.linalg.cho_solve(cho_factor(a), b): a gradient for the triangle that is not read",
        """
import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve

a, b = jnp.array([[2.0, 0.5], [0.5, 1.0]]), jnp.array([1.0, 2.0])
found = jax.grad(lambda a: cho_solve(cho_factor(a), b).sum())(a)[1, 0]
truth = 0.0
""",
        "cho_factor reads one triangle: changing a[1, 0] changes nothing",
    ),
)
