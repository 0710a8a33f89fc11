"""The wrong element is found and named, however small it is beside the others."""

import jax.numpy as jnp
import numpy as np
from custom_rules import ruled, wrong_elements
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnjax.gradients import check_grads


def test_a_tiny_term_hidden_by_a_huge_one_is_compared_with_jax_s_own_rules():
    cube = ruled(lambda x: (x**3).sum(), lambda r, y: (2 * r[0] ** 2 * y,))
    huge, tiny = 1e9 * np.array([1.0, 2.0]), 1e-9 * np.array([1.0, 3.0])
    assert any("args[1]" in w for w in wrong_elements(lambda a, b: (a**2).sum() + cube(b), huge, tiny))
    right = ruled(lambda x: (x**3).sum(), lambda r, y: (3 * r[0] ** 2 * y,))
    assert check_grads(lambda a, b: (a**2).sum() + right(b), (huge, tiny)).ok


def test_a_tiny_leaf_beside_a_huge_one_is_compared_with_differences():
    f = ruled(lambda a, b: (a**2, b**3), lambda r, y: (2 * r[0] * y[0], 3.001 * r[1] ** 2 * y[1]))
    found = wrong_elements(f, 1e6 * np.ones(3), 1e-6 * np.arange(1.0, 4.0))
    assert all(w.startswith("args[1][") and "own rules" not in w for w in found)


@settings(max_examples=4)
@given(st.integers(0, 59), st.floats(1.001, 3.0))
def test_any_single_wrong_element_is_named(at, factor):
    f = ruled(lambda x: jnp.sin(x).sum(), lambda r, y: ((jnp.cos(r[0]) * y).at[at].multiply(factor),))
    x = np.random.default_rng(0).normal(size=60)
    assert wrong_elements(f, x) == [f"args[0][{at}]"]
