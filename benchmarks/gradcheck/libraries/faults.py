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
        "tfp-nightly",
        "Skellam.log_prob: the derivatives by the rates are wrong for counts below -1",
        """
import jax, mpmath
from tensorflow_probability.substrates import jax as tfp


def density(rate):
    bessel = mpmath.besseli(2, 2 * mpmath.sqrt(rate * 3))
    return -(rate + 3) - mpmath.log(rate / 3) + mpmath.log(bessel)


found = jax.grad(lambda rate: tfp.distributions.Skellam(rate, 3.0).log_prob(-2.0))(2.0)
truth = mpmath.diff(density, 2)
""",
        "mpmath, from the density with the modified Bessel function of order |k|",
    ),
    Fault(
        "tfp-nightly",
        "math.betainc, and with it Beta.cdf: the derivative in b is wrong where b is 1 or 2",
        """
import jax, mpmath
from tensorflow_probability.substrates import jax as tfp

found = jax.grad(lambda b: tfp.distributions.Beta(1.5, b).cdf(0.4))(1.0)
truth = mpmath.diff(lambda b: mpmath.betainc(1.5, b, 0, 0.4, regularized=True), 1)
""",
        "mpmath, from the integral; the loop over the series stops at a term that is 0, while its derivative is not",
    ),
    Fault(
        "jax",
        "scipy.special.spence: reverse mode gives NaN for 1 < x <= 2",
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
    Fault(
        "jax",
        "scipy.special.logsumexp(a, b=b): the derivative by a weight of 0 is 0",
        """
import jax, mpmath
import jax.numpy as jnp
from jax.scipy.special import logsumexp

a, b = jnp.array([0.3, 1.0]), jnp.array([0.0, 1.0])
found = jax.grad(lambda b: logsumexp(a, b=b))(b)[0]
truth = mpmath.exp(0.3) / mpmath.exp(1.0)
""",
        "exp(a_i) / sum(b exp(a))",
    ),
    Fault(
        "jax",
        "scipy.special.boxcox(x, 0) and boxcox1p(x, 0): the derivative by the exponent is 0",
        """
import jax, mpmath
from jax.scipy.special import boxcox

found = jax.grad(boxcox, 1)(2.0, 0.0)
truth = mpmath.log(2) ** 2 / 2
""",
        "log(x)^2 / 2, the limit of the derivative of (x^c - 1) / c",
    ),
    Fault(
        "jax",
        "scipy.linalg.eigh_tridiagonal: the derivatives of eigenvalues, of three and more, are wrong in forward mode",
        """
import jax
import jax.numpy as jnp
from jax.scipy.linalg import eigh_tridiagonal

d, e = jnp.array([1.0, 2.0, 3.0]), jnp.array([1.0, 1.0])
found = jax.jacfwd(lambda d: eigh_tridiagonal(d, e, eigvals_only=True))(d)[1, 0]
truth = 1 / 3
""",
        "the square of the first number of the eigenvector (1, 1, -1) / sqrt(3) of the eigenvalue 2",
    ),
    Fault(
        "rlax",
        "signed_hyperbolic: the derivative at 0 is eps, without the 1/2 of the square root",
        """
import jax
import rlax

found = jax.grad(rlax.signed_hyperbolic)(0.0)
truth = 0.5 + 0.001
""",
        "the derivative of sign(x) (sqrt(|x| + 1) - 1) + eps x at 0; signed_logp1 and signed_expm1 give 0 for 1, and "
        "signed_parabolic 0 for 1.996",
    ),
    Fault(
        "optax",
        "safe_softmax_cross_entropy: forward mode gives NaN where a logit is -inf",
        """
import math

import jax
import jax.numpy as jnp
import optax


def loss(x):
    logits = jnp.array([1.0, 0.0, -jnp.inf]).at[0].set(x)
    return optax.safe_softmax_cross_entropy(logits, jnp.array([1.0, 0.0, 0.0]))


found = jax.jvp(loss, (1.0,), (1.0,))[1]
truth = math.e / (math.e + 1) - 1
""",
        "softmax minus label, which reverse mode gives",
    ),
    Fault(
        "distrax",
        "Categorical(probs=p).entropy: NaN by every probability where one is 0",
        """
import jax, mpmath
import jax.numpy as jnp
import distrax


def entropy(p):
    return -(p * mpmath.log(p / (p + 0.8)) + 0.8 * mpmath.log(0.8 / (p + 0.8))) / (p + 0.8)


found = jax.grad(lambda p: distrax.Categorical(probs=p).entropy())(jnp.array([0.2, 0.8, 0.0]))[0]
truth = mpmath.diff(entropy, 0.2)
""",
        "mpmath; only the derivative by the probability that is 0 is infinite",
    ),
    Fault(
        "optimistix",
        "NelderMead: in three dimensions and more the result is no minimum, and its derivative is that of the minimum",
        """
import jax.numpy as jnp
import optimistix


def minimum(target):
    solver = optimistix.NelderMead(1e-5, 1e-5)
    return optimistix.minimise(lambda y, t: jnp.sum((y - t) ** 2), solver, jnp.zeros(3), target).value


found, truth = minimum(jnp.array([1.0, 2.0, 3.0]))[2], 3.0
""",
        "the minimum of |y - t|^2 is t; the solver ends at (1, 2.5, 2.5) without an error",
    ),
    Fault(
        "jaxopt",
        "projection_transport: the gradient is 0 where the projection moves along a face",
        """
import jax
import jax.numpy as jnp
from jaxopt import projection

marginals = jnp.array([0.4, 0.6]), jnp.array([0.3, 0.3, 0.4])


def corner(value):
    similarities = jnp.array([[1.3, 0.6, -1.7], [0.9, value, -1.2]])
    return projection.projection_transport(similarities, marginals)[1, 1]


found = jax.grad(corner)(0.5)
truth = (corner(0.51) - corner(0.49)) / 0.02
""",
        "differences; the projection is linear there",
    ),
    Fault(
        "ott-jax",
        "Sinkhorn with tau_a or tau_b below 1: the gradient of reg_ot_cost is not that of its value",
        """
import jax
import jax.numpy as jnp
from ott.geometry import geometry
from ott.problems.linear import linear_problem
from ott.solvers.linear import sinkhorn


def cost(scale):
    costs = scale * jnp.array([[0.0, 1.0], [1.0, 0.0]])
    problem = linear_problem.LinearProblem(geometry.Geometry(costs, epsilon=0.5), tau_a=0.8, tau_b=0.9)
    return sinkhorn.Sinkhorn(threshold=1e-12, max_iterations=10000)(problem).reg_ot_cost


found = jax.grad(cost)(1.0)
truth = (cost(1.0001) - cost(0.9999)) / 0.0002
""",
        "differences of the converged value",
    ),
)
