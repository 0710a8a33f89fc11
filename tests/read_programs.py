"""Programs that the tests of `cnnjax.programs` share."""

import jax

from cnnjax.programs.arguments import inputs
from cnnjax.programs.flattening import flatten
from cnnjax.programs.reading import read


def flat(f, *args):
    """The flat program of a function of arrays."""
    return flatten(jax.make_jaxpr(f)(*args))


def drafts(f, *args):
    """The drafts of a function of single arrays."""
    program = flat(f, *args)
    numbers = {variable: number for number, variable in enumerate(program.arguments)}
    return read(program, inputs(program, numbers)).drafts
