"""Functions with rules of their own, right and wrong, and what the checker says of the wrong ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.errors import GradientError
from cnnjax.gradients import check_grads

X = np.array([0.3, -1.2, 0.8, 2.0], np.float32)


def ruled(f, bwd):
    g = jax.custom_vjp(f)
    g.defvjp(lambda *args: (f(*args), args), lambda args, y: tuple(bwd(args, y)))
    return g


def wrong_elements(f, *args, **options):
    with pytest.raises(GradientError) as caught:
        check_grads(f, args, **options)
    return [mismatch.where for mismatch in caught.value.report.mismatches]


def sine(bwd):
    f = jax.custom_vjp(jnp.sin)
    f.defvjp(lambda x: (jnp.sin(x), x), lambda x, y: (bwd(x, y),))
    return f


def right(x, y):
    return jnp.cos(x) * y


def failed_checks(f, args=(X,), **options):
    with pytest.raises(GradientError) as caught:
        check_grads(f, args, **options)
    report = caught.value.report
    assert report.diagnosis
    return {check.name.split(" (")[0] for check in report.failed}


@jax.custom_vjp
def half_square(x):
    return x**2


half_square.defvjp(lambda x: (x**2, x), lambda x, y: (x * y,))


def guarded_log(x, low, slope=1.0):
    """The logarithm, which raises an exception while it runs where an argument is not above ``low``."""

    def check(values):
        if not (values > low).all():
            raise ValueError("outside the domain")
        return values

    guard = jax.custom_jvp(lambda x: jax.pure_callback(check, jax.ShapeDtypeStruct(x.shape, x.dtype), x))
    guard.defjvp(lambda primals, tangents: (guard(*primals), slope * tangents[0]))
    return jnp.log(guard(x))
