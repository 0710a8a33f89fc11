"""Programs give what the function gives, one point at a time and many together."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.gradients import programs
from cnnjax.gradients.programs import Program, concatenated
from cnnjax.gradients.strategies import STRATEGIES

X = np.array([0.3, -1.2, 0.8])


def f(x):
    return jnp.concatenate([jnp.sin(x), x[:1] * x[1:2]])


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy.name)
def test_every_strategy_evaluates_the_same_function(strategy):
    program = Program(f, (3,), strategy)
    np.testing.assert_allclose(program(X), f(X), rtol=1e-6)
    assert program.size_at(X) == 4
    assert program(X).dtype == np.float64


@pytest.mark.parametrize("strategy", STRATEGIES[::2], ids=lambda strategy: strategy.name)
@pytest.mark.parametrize("buffer", [programs._BUFFER, 8], ids=["one call", "many calls"])
def test_many_parts_are_moved_along_a_line(strategy, buffer, monkeypatch):
    monkeypatch.setattr(programs, "_BUFFER", buffer)
    program = Program(f, (3,), strategy)
    line, parts, steps = np.array([1.0, -2.0, 0.5]), np.array([(0, 3), (1, 2), (2, 3), (0, 0)] * 2), np.arange(8) / 8
    points = [
        X + step * np.where((start <= np.arange(3)) & (np.arange(3) < stop), line, 0)
        for (start, stop), step in zip(parts, steps, strict=True)
    ]
    np.testing.assert_allclose(program.along(X, line, parts, steps), [f(point) for point in points], rtol=1e-12)


def test_several_programs_are_compiled_as_one():
    several = [Program(g, (3,), STRATEGIES[0]) for g in (jnp.sin, lambda x: x.sum()[None])]
    np.testing.assert_allclose(concatenated(several)(X), [*np.sin(X), X.sum()], rtol=1e-14)


@pytest.mark.usefixtures("float32_world")
def test_a_function_in_its_own_dtype_is_evaluated_in_float64():
    program = Program(lambda x: (x + np.float32(1e8)) - np.float32(1e8), (1,), STRATEGIES[1])
    assert program(np.array([0.1]))[0] == pytest.approx(0.1, abs=1e-7)


def test_an_intended_rule_is_linearized_at_the_base_point():
    program = Program(lambda x: x + jax.lax.stop_gradient(x**2), (1,), STRATEGIES[0], frozenset({"stop_gradient"}))
    assert program.along(np.array([3.0]), np.array([1.0]), np.array([[0, 1]]), np.array([1.0]))[0] == 4.0 + 9.0
