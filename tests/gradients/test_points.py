"""The points where a function is checked are in its domain."""

import jax
import jax.numpy as jnp
import numpy as np
from custom_rules import ruled, wrong_elements

from cnnjax.gradients import check_grads
from cnnjax.gradients.leaves import numeric_leaves
from cnnjax.gradients.points import random_shift


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


def shifted(array):
    array = np.asarray(array)
    (leaf,), _, _ = numeric_leaves("x", array)
    return random_shift(array.reshape(-1), [leaf], np.random.default_rng(0)).reshape(array.shape)


def test_an_array_stays_what_it_is():
    triangular = np.array([[1.0, 0.0, 0.0], [0.2, 1.1, 0.0], [-0.3, 0.1, 0.9]])
    assert (np.triu(shifted(triangular), 1) == 0).all()
    assert (np.tril(shifted(triangular)) != 0).sum() == 6
    assert (shifted(np.diag([1.0, 2.0])) * (1 - np.eye(2)) == 0).all()
    probabilities = np.array([[0.2, 0.3, 0.5], [0.0, 0.5, 0.5]])
    np.testing.assert_allclose(shifted(probabilities).sum(-1), 0.0, atol=1e-15)
    assert (probabilities + shifted(probabilities) / 16 >= 0).all()
    assert (shifted(np.array([0.0, 1.0, 0.0, 3.0]))[::2] > 0).all()
    assert (shifted(np.zeros((3, 3))) != 0).all()


def conjugate_gradients(a, b, scale=1.0):
    """Solve a x = b for a symmetric positive definite matrix."""

    def iterate(a, b):
        def step(_, state):
            x, r, p = state
            alpha = (r @ r) / (p @ a @ p)
            after = r - alpha * (a @ p)
            return x + alpha * p, after, after + (after @ after) / (r @ r) * p

        return jax.lax.fori_loop(0, len(b), step, (0 * b, b, b))[0]

    solve = jax.custom_jvp(iterate)
    solve.defjvp(lambda p, t: (solve(*p), scale * jnp.linalg.solve(p[0], t[1] - t[0] @ solve(*p))))
    return solve(a, b)


def test_a_solver_for_symmetric_matrices_has_no_derivative_by_one_element():
    a, b = np.array([[2.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 1.5]]), np.array([1.0, 2.0, -1.0])
    assert check_grads(conjugate_gradients, (a, b), modes="rev").ok
    assert wrong_elements(lambda a, b: conjugate_gradients(a, b, 1.01), a, b, modes="rev")


def test_what_differs_outside_the_domain_alone_is_a_warning():
    a, b = np.array([1.4675182, 3.5229433]), np.array([3.4799664, 1.0922712])
    report = check_grads(jax.scipy.special.beta, (a, b), modes="rev")
    assert report.ok
    assert "the sign-flipped point" in report.warnings[0]
    assert report.warnings[0] in str(report)
