"""Every element by a difference of its own, and only what depends on it evaluated again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.errors import GradientError
from cnnjax.gradients import check_grads, elements
from cnnjax.gradients.elements import ElementSweep, evaluate_with_part
from cnnjax.gradients.flat_function import flatten_function
from cnnjax.gradients.programs import Program
from cnnjax.gradients.strategies import STRATEGIES

RNG = np.random.default_rng(0)
PARAMS = {"a": RNG.normal(size=(3, 4)), "b": RNG.normal(size=3) + 1j * RNG.normal(size=3), "c": np.float64(2.0)}


def network(p):
    def step(h, row):
        h = jnp.tanh(h + row * p["c"])
        return h, h

    rows = jax.lax.scan(step, jnp.zeros(4), p["a"])[1]
    return abs(rows.sum(1).astype(complex) * p["b"]).sum() + jax.jit(jnp.sin)(p["c"])


def program_of(f, args):
    flat = flatten_function(f, args)
    return flat, Program(lambda x: flat.in_float64(x), (len(flat.point),), STRATEGIES[0])


@pytest.mark.parametrize("few", [1, 5, 10**6], ids=["leaf by leaf", "some together", "all together"])
def test_it_is_the_function_at_the_moved_point(few, monkeypatch):
    monkeypatch.setattr(elements, "_OWN_PROGRAM", few)
    flat, program = program_of(network, (PARAMS,))
    places = np.arange(len(flat.point))
    steps = RNG.normal(size=len(places))
    found = ElementSweep(program, flat.point, flat.inputs)(places[::-1], steps)
    points = flat.point + steps[:, None] * np.eye(len(places))[::-1]
    np.testing.assert_allclose(found, [program(point)[0] for point in points], rtol=1e-14)


def test_what_the_part_does_not_reach_is_evaluated_once():
    flat, program = program_of(lambda a, b: jnp.exp(jnp.sin(a).sum()) * b.sum(), (np.ones(3), np.ones(2)))
    again = evaluate_with_part(program.jaxpr, jnp.asarray(flat.point), 3, 5)
    jaxpr = jax.make_jaxpr(again)(np.ones(2))
    names = {eqn.primitive.name for eqn in jaxpr.eqns}
    assert "mul" in names
    assert not names & {"sin", "exp"}


def test_the_whole_vector_may_be_used_at_once():
    program = Program(lambda x: jnp.cumsum(x * x)[-1:] * x[2], (4,), STRATEGIES[0])
    x = np.arange(1.0, 5.0)
    again = evaluate_with_part(program.jaxpr, jnp.asarray(x), 1, 3)
    np.testing.assert_array_equal(again(jnp.array([5.0, 6.0])), program(np.array([1.0, 5.0, 6.0, 4.0])))


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
