"""Every element of a gradient against a difference of its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.errors import GradientError
from cnnjax.gradients import check_grads


def product(factor):
    """A product whose rule is off at two elements, by a callback that JAX's own rules cannot look into."""

    def host(w, x):
        return jax.pure_callback(
            lambda w, x: np.asarray(np.tanh(w) @ x, x.dtype), jax.ShapeDtypeStruct(w.shape[:1], w.dtype), w, x
        )

    f = jax.custom_vjp(host)

    def bwd(r, y):
        w, x = r
        gradient = (1 - jnp.tanh(w) ** 2) * y[:, None] * x[None]
        return gradient.at[3, 5].multiply(factor).at[17, 0].multiply(factor), jnp.tanh(w).T @ y

    f.defvjp(lambda w, x: (host(w, x), (w, x)), bwd)
    return f


W, V = (np.random.default_rng(0).normal(size=shape) for shape in ((20, 30), (30,)))


def test_all_elements_are_compared():
    report = check_grads(product(1.0), (W, V), exhaustive=True)
    (check,) = (check for check in report.checks if check.name == "every element (rev)")
    assert check.compared == W.size + V.size
    assert check.ok


def test_without_a_second_opinion_the_wrong_element_is_still_found():
    with pytest.raises(GradientError) as caught:
        check_grads(product(1.01), (W, V))
    assert any(mismatch.where in ("args[0][3, 5]", "args[0][17, 0]") for mismatch in caught.value.report.mismatches)


def test_a_forward_only_function():
    def f(x):
        return jax.lax.while_loop(lambda c: c.sum() < 100, lambda c: c * 1.5, x)

    report = check_grads(f, (np.array([1.0, 2.0]),), exhaustive=True)
    assert any(check.name == "every element (fwd)" and check.ok for check in report.checks)


def test_kinks_are_looked_at_again():
    x = np.array([0.0, 1e-5, 1.0, -1.0])
    assert check_grads(lambda x: jax.nn.relu(x).sum(), (x,), exhaustive=True).ok
