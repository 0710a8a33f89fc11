"""What primitives do to the intervals that elements read: against the elements that change the result."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from read_programs import flat

from cnnjax.programs.extents import of_input
from cnnjax.programs.propagation import Axes, propagate

SHAPE = (2, 12, 10, 3)
PLACE = {
    "elementwise": lambda x: jnp.tanh(x) * 2 + x,
    "transposed": lambda x: x.transpose(0, 3, 2, 1),
    "sliced": lambda x: x[:, 1:11:3, 4:],
    "split": lambda x: jnp.split(x, [5], axis=1)[1],
    "padded": lambda x: jnp.pad(x, ((0, 0), (2, 1), (0, 3), (0, 0)))[:, 2:-1],
    "tiles": lambda x: x.reshape(2, 4, 3, 5, 2, 3).sum((2, 4)),
    "window": lambda x: lax.reduce_window(x, 0.0, lax.add, (1, 3, 2, 1), (1, 2, 1, 1), "VALID"),
    "dilated window": lambda x: lax.reduce_window(
        x, 0.0, lax.add, (1, 2, 2, 1), (1, 1, 1, 1), "VALID", window_dilation=(1, 3, 1, 1)
    ),
    "mean": lambda x: x.mean((1, 2)),
    "mean of rows": lambda x: x.mean(2, keepdims=True),
    "product": lambda x: jnp.einsum("nijc,cd->ndij", x, jnp.ones((3, 5))),
    "flattened": lambda x: x.reshape(2, -1) @ jnp.ones((360, 4)),
    "convolution": lambda x: lax.conv_general_dilated(
        x, jnp.ones((3, 2, 3, 4)), (2, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NCHW")
    ),
    "branches": lambda x: jnp.concatenate([x[:, 2:-2], x[:, 4:], x[:, :-4]], axis=-1).sum(-1),
    "shifted sum": lambda x: x[:, 2:] + x[:, :-2],
    "cumulative": lambda x: jnp.cumsum(x, axis=1),
    "broadcast": lambda x: x[:, :, None] + jnp.zeros((1, 1, 4, 1, 1)),
}


@pytest.mark.parametrize("f", PLACE.values(), ids=PLACE)
def test_an_element_reads_what_changes_it_or_less(f):
    """Of an element in the middle, the gradient is zero outside of its interval, and reaches both ends of it."""
    x = jnp.asarray(np.random.default_rng(0).standard_normal(SHAPE))
    program = flat(f, x)
    (image,) = program.arguments
    known = {image: Axes(of_input(image, SHAPE))}
    for operation in program.operations:
        axes = propagate(operation, [known.get(operand) for operand in operation.operands])
        known.update(zip(operation.results, axes, strict=True))
    extents = known[program.results[0]].extents
    y = jax.eval_shape(f, x)
    index = tuple(n // 2 for n in y.shape)
    felt = np.asarray(jax.jit(jax.grad(lambda x: f(x)[index]))(x)) != 0
    for axis in (1, 2):
        interval = extents.intervals[axis]
        start = interval.low + sum(steps.jump * index[steps.axis] for steps in interval.steps if steps.aligned)
        found = np.flatnonzero(felt.any(axis=tuple(other for other in range(4) if other != axis)))
        assert start <= found[0]
        assert found[-1] < start + interval.size
        if f not in (PLACE["cumulative"],):
            assert (found[0], found[-1] + 1) == (start, start + interval.size)


def test_an_embedding_is_where_its_index_was():
    program = flat(lambda table, tokens: table[tokens], jnp.ones((9, 4)), jnp.zeros((2, 7), jnp.int32))
    _, tokens = program.arguments
    known = {tokens: Axes(of_input(tokens, (2, 7)))}
    for operation in program.operations:
        axes = propagate(operation, [known.get(operand) for operand in operation.operands])
        known.update(zip(operation.results, axes, strict=True))
    extents = known[program.results[0]].extents
    assert [extents.input_axis(axis) for axis in range(3)] == [0, 1, None]


def test_maps_and_examples_move_with_their_axes():
    program = flat(PLACE["convolution"], jnp.ones(SHAPE))
    (image,) = program.arguments
    known = {image: Axes(of_input(image, SHAPE))}
    (operation,) = program.operations[-1:]
    (axes,) = propagate(operation, [known.get(operand) for operand in operation.operands])
    assert (axes.maps, axes.batch) == (1, 0)


def test_what_does_not_depend_on_the_input_has_no_axes():
    program = flat(lambda x: x + 1, jnp.ones(3))
    assert propagate(program.operations[0], [None, None]) == [None]
