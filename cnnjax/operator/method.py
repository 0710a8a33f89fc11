"""A method: one way to compute the three directions of a convolution, and the calls that it serves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax

from cnnjax.operator.spec import ConvSpec, Direction

__all__ = ["Compute", "Method", "serves_all", "transposed_in_w", "transposed_in_x"]

Compute = Callable[[jax.Array, jax.Array, ConvSpec], jax.Array]


def transposed_in_x(forward: Compute) -> Compute:
    """The input gradient (w, y) -> x that belongs to a forward pass (x, w) -> y."""

    def input_gradient(w: jax.Array, y: jax.Array, spec: ConvSpec) -> jax.Array:
        like = jax.ShapeDtypeStruct(spec.x_shape, y.dtype)
        return jax.linear_transpose(lambda x: forward(x, w, spec), like)(y)[0]

    return input_gradient


def transposed_in_w(forward: Compute) -> Compute:
    """The weight gradient (x, y) -> w that belongs to a forward pass (x, w) -> y."""

    def weight_gradient(x: jax.Array, y: jax.Array, spec: ConvSpec) -> jax.Array:
        like = jax.ShapeDtypeStruct(spec.w_shape, y.dtype)
        return jax.linear_transpose(lambda w: forward(x, w, spec), like)(y)[0]

    return weight_gradient


@dataclass(frozen=True)
class Method:
    """A way to compute the three directions.

    `refuses(call)` gives the reason why a call is not served, or None. A direction that is not given is the transpose
    of the forward pass. `native` methods take 16-bit arrays as they come and accumulate in float32 themselves; others
    are handed arrays in the dtype in which sums are kept. `loops` are the directions that are one loop over elements,
    which XLA would fuse with what surrounds them.
    """

    name: str
    forward: Compute
    input_gradient: Compute
    weight_gradient: Compute
    refuses: Callable[[ConvSpec], str | None]
    native: bool = False
    loops: tuple[Direction, ...] = ()

    def direction(self, name: Direction) -> Compute:
        """The function of a direction by its name."""
        return {
            "forward": self.forward,
            "input_gradient": self.input_gradient,
            "weight_gradient": self.weight_gradient,
        }[name]


def serves_all(spec: ConvSpec) -> None:
    """No call is refused."""
    return
