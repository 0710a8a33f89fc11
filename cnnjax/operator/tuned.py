"""What was measured of convolutions on one machine: a value, to be handed over as `method`."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

from cnnjax.operator.spec import DIRECTIONS, ConvSpec, Direction, Measured

__all__ = ["Measurement", "Timed", "Tuned"]


@dataclass(frozen=True)
class Timed:
    """One direction: the method that was taken, and the milliseconds of every candidate, the fastest first."""

    method: str
    milliseconds: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Measurement:
    """One convolution in its three directions. `call` asks for no method and no precision."""

    spec: ConvSpec
    forward: Timed
    input_gradient: Timed
    weight_gradient: Timed

    def direction(self, name: str) -> Timed:
        """What was measured of a direction."""
        return {
            "forward": self.forward,
            "input_gradient": self.input_gradient,
            "weight_gradient": self.weight_gradient,
        }[name]


@dataclass(frozen=True, repr=False)
class Tuned:
    """Measurements of convolutions, made by `cnnjax.tune`: pass it as `method` to the convolutions and to `explain`.

    A convolution that is in it (shapes, stride, padding, dilation, groups, dtype) takes in each direction the method
    that was measured to be the fastest, another one what "auto" chooses; so does every one on another kind of platform
    than was measured on. The choice is part of the call that is traced: a jitted function keeps the choice that it was
    traced with, and its program says which. It is a value, immutable and hashable. `a | b` holds the measurements of
    both; where they measured the same convolution, those of b.

    >>> import jax, cnnjax
    >>> measured = cnnjax.tune((1, 8, 8, 1), (3, 3, 1, 2), methods=["lax"], seconds=0.001)
    >>> cnnjax.conv2d(jax.numpy.ones((1, 8, 8, 1)), jax.numpy.ones((3, 3, 1, 2)), method=measured).shape
    (1, 6, 6, 2)
    """

    machine: str
    platform: str
    jax: str
    cnnjax: str
    measurements: tuple[Measurement, ...]

    def measured(self, spec: ConvSpec) -> Measured | None:
        """The methods measured of a call, or None."""
        found = self._by_spec.get(_key(spec))
        return found and Measured(self.platform, *(found.direction(name).method for name in DIRECTIONS))

    def explained(self, spec: ConvSpec, direction: Direction, method: str, why: str) -> tuple[str, str]:
        """A method chosen for a call, and why: the times of the candidates if they decided, else the rule."""
        found = self._by_spec.get(_key(spec))
        if found is None:
            return method, f"{why} (not measured)"
        if why != "asked for":
            return method, f"{why} (measured on another platform: {self.platform})"
        times = ", ".join(f"{name} {ms:.3g}" for name, ms in found.direction(direction).milliseconds)
        return method, f"measured, in ms: {times}"

    def __or__(self, other: Tuned) -> Tuned:
        """The measurements of both; `other` is of the same machine and versions, and replaces what both measured."""
        return replace(self, measurements=tuple((self._by_spec | other._by_spec).values()))

    def __repr__(self) -> str:
        """One line a convolution."""
        lines = [f"Tuned on {self.machine}, jax {self.jax}: {len(self.measurements)} convolutions"]
        for one in self.measurements:
            methods = " / ".join(one.direction(name).method for name in DIRECTIONS)
            lines.append(f"  {one.spec.x_shape} by {one.spec.w_shape}, {one.spec.dtype}: {methods}")
        return "\n".join(lines)

    @functools.cached_property
    def _by_spec(self) -> dict[ConvSpec, Measurement]:
        return {_key(one.spec): one for one in self.measurements}


def _key(spec: ConvSpec) -> ConvSpec:
    return replace(spec, precision=None)
