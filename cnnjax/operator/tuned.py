"""Measurements of convolutions on one machine: a value to pass as `method`."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

from cnnjax.operator.choice import REQUESTED, Choice
from cnnjax.operator.spec import DIRECTIONS, ConvSpec, Direction, Measured, MethodName

__all__ = ["Measurement", "Timed", "Tuned"]


@dataclass(frozen=True)
class Timed:
    """One direction: the selected method, and the milliseconds of every candidate, fastest first."""

    method: MethodName
    milliseconds: tuple[tuple[MethodName, float], ...]


@dataclass(frozen=True)
class Measurement:
    """One convolution in its three directions. Its `spec` names neither a method nor a precision."""

    spec: ConvSpec
    forward: Timed
    input_gradient: Timed
    weight_gradient: Timed

    def direction(self, direction: Direction) -> Timed:
        """The measurements of a direction."""
        return getattr(self, direction)


@dataclass(frozen=True, repr=False)
class Tuned:
    """Measurements of convolutions, made by `cnnjax.tune`: pass them as `method` to a convolution or to `explain`.

    A convolution that was measured (same shapes, stride, padding, dilation, groups and dtype) uses in each direction
    the method that was fastest. A convolution that was not measured, or that is compiled for another kind of platform
    (CPU or accelerator) than it was measured on, falls back to "auto". The choice is made at trace time and is part of
    the program, so a jitted function keeps the methods that it was traced with. The value is immutable and
    hashable. `a | b` holds the measurements of both; for a convolution that both measured, those of b.

    Attributes:
        machine: the device on which it was measured, and for a CPU its number of cores.
        platform: JAX's backend, such as "cpu" or "gpu".
        jax: the version of jax.
        cnnjax: the version of cnnjax.
        measurements: one entry for each convolution.

    Example:
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
        """The fastest method of each direction of a convolution, or None if it was not measured."""
        found = self._by_spec.get(_key(spec))
        if found is None:
            return None
        return Measured(
            self.platform == "cpu", found.forward.method, found.input_gradient.method, found.weight_gradient.method
        )

    def explain(self, spec: ConvSpec, direction: Direction, choice: Choice) -> Choice:
        """Complete the reason for a choice: the times of the candidates if they decided it, else why they did not."""
        found = self._by_spec.get(_key(spec))
        if found is None:
            return choice._replace(reason=f"{choice.reason} (not measured)")
        if choice.reason != REQUESTED:
            return choice._replace(reason=f"{choice.reason} (measured on another platform: {self.platform})")
        times = ", ".join(f"{name} {ms:.3g}" for name, ms in found.direction(direction).milliseconds)
        return choice._replace(reason=f"measured, in ms: {times}")

    def __or__(self, other: Tuned) -> Tuned:
        """The measurements of both; `other` is of the same machine and versions, and replaces what both measured."""
        return replace(self, measurements=tuple((self._by_spec | other._by_spec).values()))

    def __repr__(self) -> str:
        """One line for each convolution."""
        count = len(self.measurements)
        lines = [f"Tuned on {self.machine}, jax {self.jax}: {count} convolution{'s' * (count != 1)}"]
        for one in self.measurements:
            methods = " / ".join(one.direction(direction).method for direction in DIRECTIONS)
            lines.append(f"  {one.spec.x_shape} by {one.spec.w_shape}, {one.spec.dtype}: {methods}")
        return "\n".join(lines)

    @functools.cached_property
    def _by_spec(self) -> dict[ConvSpec, Measurement]:
        return {_key(one.spec): one for one in self.measurements}


def _key(spec: ConvSpec) -> ConvSpec:
    return replace(spec, precision=None)
