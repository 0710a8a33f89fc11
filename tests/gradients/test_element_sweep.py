"""A program at points that differ in one element, of which only what depends on it is evaluated again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.gradients import element_sweep
from cnnjax.gradients.element_sweep import ElementSweep, evaluate_with_part
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
    monkeypatch.setattr(element_sweep, "_OWN_PROGRAM", few)
    flat, program = program_of(network, (PARAMS,))
    places = np.arange(len(flat.point))
    steps = RNG.normal(size=len(places))
    found = ElementSweep(program, [flat.point], flat.inputs)(places[::-1], steps)
    points = flat.point + steps[:, None] * np.eye(len(places))[::-1]
    np.testing.assert_allclose(found, [program(point)[0] for point in points], rtol=1e-14)


def test_what_the_part_does_not_reach_is_evaluated_once():
    flat, program = program_of(lambda a, b: jnp.exp(jnp.sin(a).sum()) * b.sum(), (np.ones(3), np.ones(2)))
    again = evaluate_with_part(program.jaxpr, [jnp.asarray(flat.point)], 3, 5)
    jaxpr = jax.make_jaxpr(again)(np.ones(2))
    names = {eqn.primitive.name for eqn in jaxpr.eqns}
    assert "mul" in names
    assert not names & {"sin", "exp"}


def test_the_whole_vector_may_be_used_at_once():
    program = Program(lambda x: jnp.cumsum(x * x)[-1:] * x[2], (4,), STRATEGIES[0])
    x = np.arange(1.0, 5.0)
    again = evaluate_with_part(program.jaxpr, [jnp.asarray(x)], 1, 3)
    np.testing.assert_array_equal(again(jnp.array([5.0, 6.0])), program(np.array([1.0, 5.0, 6.0, 4.0])))


def test_of_several_vectors_the_last_is_moved_and_what_depends_on_the_others_is_evaluated_once():
    program = Program(lambda x, v: jnp.sum(jnp.cos(x) * v)[None], (3, 3), STRATEGIES[0])
    x = np.arange(3.0)
    leaf = flatten_function(jnp.sum, (x,)).inputs
    found = ElementSweep(program, [x, np.zeros(3)], leaf)(np.arange(3), np.ones(3))
    np.testing.assert_allclose(found, np.cos(x), rtol=1e-14)
    jaxpr = jax.make_jaxpr(evaluate_with_part(program.jaxpr, [jnp.asarray(x), jnp.zeros(3)], 0, 3))(np.ones(3))
    assert "cos" not in {eqn.primitive.name for eqn in jaxpr.eqns}
