"""Elements of arrays that expressions are made of."""

import jax.numpy as jnp
from jax import lax
from read_programs import flat

from cnnjax.programs.parameters import Use, express, num_used, union

A, B = jnp.ones((4, 6)), jnp.ones((4, 6))


def used(f, *args):
    """The uses in the first result of a function of parameters."""
    program = flat(f, *args)
    uses = {v: (Use(v, arg.size),) for v, arg in zip(program.arguments, args, strict=True)}
    for operation in program.operations:
        made = express(operation, [uses.get(operand, ()) for operand in operation.operands])
        uses.update(zip(operation.results, made, strict=True))
    return uses[program.results[0]]


def flags(uses):
    return [(use.leaf, use.count, use.negated, use.root, use.scaled) for use in uses]


def test_moves_and_casts_keep_the_array():
    uses = used(lambda a: jnp.broadcast_to(a.T.reshape(24)[None], (3, 24)).astype(jnp.float32), A)
    assert flags(uses) == [(0, 24, False, False, False)]
    assert uses[0].part is None


def test_parts_count_their_elements_and_the_whole_counts_once():
    def f(a):
        return jnp.stack([a[:2].sum(), a[2:].sum(), a[2:3].sum()])

    uses = used(f, A)
    assert sorted(use.count for use in uses) == [6, 12, 12]
    assert num_used(uses, {0: 24}) == 24
    assert num_used([use for use in uses if use.count == 6] * 2, {0: 24}) == 6


def test_in_a_loop_a_part_stands_for_the_whole():
    loop = lambda a: lax.fori_loop(0, 4, lambda i, total: total + a[i], jnp.zeros(6))  # noqa: E731
    program = flat(loop, A)
    (part,) = (operation for operation in program.operations if operation.name == "dynamic_slice")
    (uses,) = express(part, [(Use(0, 24),), *[()] * (len(part.operands) - 1)])
    assert num_used(uses, {0: 24}) == 24


def test_differences_roots_and_multiples_are_marked():
    assert flags(used(lambda a, b: a - b, A, B)) == [(0, 24, False, False, False), (1, 24, True, False, False)]
    assert flags(used(lambda a: lax.rsqrt(a + 1e-3), A)) == [(0, 24, False, True, False)]
    assert flags(used(lambda a: 0.9 * a, A)) == [(0, 24, False, False, True)]
    assert flags(used(lambda a, b: -a * b, A, B)) == [(0, 24, True, False, False), (1, 24, False, False, False)]


def test_union_removes_repetitions():
    assert union([Use(0, 3), Use(1, 2), Use(0, 3)]) == (Use(0, 3), Use(1, 2))
