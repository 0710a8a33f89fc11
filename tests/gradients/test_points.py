"""The points where a function is checked are in its domain."""

import jax
import jax.numpy as jnp
import numpy as np
from custom_rules import ruled, wrong_elements

from cnnjax.gradients import check_grads


def test_the_structure_of_a_symmetric_matrix_is_kept_nearby():
    a = np.array([[2.0, 1.0], [1.0, 3.0]])
    f = ruled(lambda a: jnp.linalg.slogdet((a + a.T) / 2)[1], lambda r, y: (y * jnp.linalg.inv(r[0]),))
    assert check_grads(f, (a,)).ok


def root(a, slope):
    """The square root by Newton's iteration, with the rule of the implicit function."""
    find = jax.custom_jvp(lambda a: jax.lax.fori_loop(0, 8, lambda i, s: (s + a / s) / 2, 1.0 + 0 * a))
    find.defjvp(lambda p, t: (find(*p), slope * t[0] / find(*p)))
    return find(a)


def test_an_implicit_rule_is_not_checked_where_its_iteration_does_not_converge():
    report = check_grads(lambda a: root(a, 0.5), (np.float64(2.0),))
    assert any("sign-flipped" in what and "converge" in why for what, why in report.skipped)
    assert wrong_elements(lambda a: root(a, 0.51), np.float64(2.0))
