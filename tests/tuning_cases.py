"""A small convolution to tune, its arrays, and the methods that a traced program names."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxprs_in_params

import cnnjax

X, W = (2, 6, 6, 4), (3, 3, 4, 4)


def tune(x=X, w=W, **settings):
    return cnnjax.tune(x, w, **{"methods": ["lax", "im2col", "shift"], **settings})


def arrays(x=X, w=W, dtype="float32"):
    random = np.random.default_rng(0)
    return jnp.asarray(random.standard_normal(x), dtype), jnp.asarray(random.standard_normal(w), dtype)


def methods_in_program(f, *arguments):
    """The methods that a program names, as {direction: method}."""
    found = {}

    def walk(jaxpr):
        for equation in jaxpr.eqns:
            if equation.primitive.name.startswith("cnnjax_"):
                direction = equation.primitive.name.removeprefix("cnnjax_")
                found[direction] = equation.params["spec"].resolved(direction, "cpu").method
            for inner in jaxprs_in_params(equation.params):
                walk(inner)

    walk(jax.make_jaxpr(f)(*arguments).jaxpr)
    return found


def loss(method, **settings):
    return lambda x, w: jnp.sum(cnnjax.conv2d(x, w, method=method, **settings) ** 2)
