"""Gamma variates in float64, by inverting the distribution function.

With the key held, a rejection sampler has another derivative than the quantile. JAX's rule is that of the quantile
(implicit reparameterization: Figurnov, Mohamed and Mnih, NeurIPS 2018), so the quantile is what has to be differenced.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

__all__ = ["gamma_variates"]


@jax.custom_jvp
def _gamma_quantile(a: Any, u: Any) -> Any:
    """Return the logarithm of the number below which a gamma variate of shape ``a`` lies with probability ``u``."""
    small = (jnp.log(u) + lax.lgamma(a + 1)) / a  # of the first term of the series, exact where the result is tiny
    ends = jnp.full_like(a, -40.0), jnp.log(a + 40 * jnp.sqrt(a) + 50)

    def improve(_: Any, state: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        """Take a step of Newton's method, or halve the interval where that leads out of it."""
        low, high, z = state
        excess = lax.igamma(a, jnp.exp(z)) - u
        low, high = jnp.where(excess > 0, low, z), jnp.where(excess > 0, z, high)
        density = jnp.exp(a * z - jnp.exp(z) - lax.lgamma(a))  # of the logarithm
        guess = z - excess / density
        return low, high, jnp.where((low <= guess) & (guess <= high), guess, (low + high) / 2)

    z = lax.fori_loop(0, 24, improve, (*ends, (ends[0] + ends[1]) / 2))[2]
    return jnp.where(a > 0, jnp.where(small < -35, small, z), jnp.nan)


@_gamma_quantile.defjvp
def _(primals: tuple[Any, Any], tangents: tuple[Any, Any]) -> tuple[Any, Any]:
    z = _gamma_quantile(*primals)
    slope: Any = lax.random_gamma_grad  # pyright reads a signature with a dtype, which it does not have
    return z, tangents[0] * slope(primals[0], jnp.exp(z)) * jnp.exp(-z)


def gamma_variates(params: dict[str, Any], values: list[Any]) -> list[Any]:
    """Evaluate the primitive ``random_gamma``: a variate for each shape parameter, its quantile drawn with its key."""
    key, a = values
    draw = jax.random.uniform
    for _ in key.shape:
        draw = jax.vmap(draw)
    u = draw(key)
    u = lax.convert_element_type(0.05 + 0.9 * u, a.dtype).reshape(key.shape + (1,) * (a.ndim - key.ndim))
    z = _gamma_quantile(a, jnp.broadcast_to(u, a.shape))
    return [z if params["log_space"] else jnp.exp(z)]
