"""All cases, by library."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from case import Case
from distributions import distrax_cases, numpyro_cases, tfp_cases
from layers import equinox_cases, flax_cases, haiku_cases
from losses import optax_cases, rlax_cases
from solvers import diffrax_cases, jaxopt_cases, lineax_cases, optimistix_cases, ott_cases
from special import scipy_cases

CASES: dict[str, Callable[[], Iterator[Case]]] = {
    "optax": optax_cases,
    "rlax": rlax_cases,
    "distrax": distrax_cases,
    "tfp": tfp_cases,
    "numpyro": numpyro_cases,
    "flax": flax_cases,
    "haiku": haiku_cases,
    "equinox": equinox_cases,
    "diffrax": diffrax_cases,
    "optimistix": optimistix_cases,
    "lineax": lineax_cases,
    "jaxopt": jaxopt_cases,
    "ott": ott_cases,
    "jax.scipy": scipy_cases,
}
