"""What is known about variables while a program is read."""

import jax.numpy as jnp
from read_programs import flat

from cnnjax.programs.extents import of_input
from cnnjax.programs.propagation import Axes
from cnnjax.programs.state import State, Value

PROGRAM = flat(lambda x, w: jnp.tanh(x) + w * 2.0, jnp.ones(3), jnp.ones(3))


def test_makers_readers_and_dependence():
    x, w = PROGRAM.arguments
    state = State(PROGRAM, frozenset({x}))
    (result,) = PROGRAM.results
    assert state.maker(result).name == "add"
    assert state.maker(x) is state.maker(None) is None
    assert [reader.name for reader in state.readers[w]] == ["mul"]
    assert {result, x} <= state.dependent
    assert w not in state.dependent


def test_a_number_is_nothing_special():
    state = State(PROGRAM, frozenset())
    assert state.value(None) == state.value(PROGRAM.results[0]) == Value()


def test_a_row_starts_with_what_is_known_about_the_result():
    x, _ = PROGRAM.arguments
    state = State(PROGRAM, frozenset({x}))
    operation = PROGRAM.operations[0]
    axes = Axes(of_input(x, (3,)))
    state.change(operation, lambda value: Value(axes, is_late=value.is_late))
    draft = state.start(operation, "Affine")
    assert state.drafts == [draft]
    assert (draft.kind, draft.shape, draft.axes) == ("Affine", (3,), axes)


def test_the_axes_that_windows_pass_over_are_collected():
    state = State(PROGRAM, frozenset())
    axes = Axes(of_input(7, (2, 5, 6, 3)))
    state.passes_over(axes, (1,))
    state.passes_over(axes, (1, 2))
    state.passes_over(None, (1,))
    assert state.spatial == {7: {1, 2}}
