"""A derivative of several samples, arguments or outputs at once must be that of each alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import jax
import numpy as np

from cnnjax.gradients.checked_mode import CheckedMode
from cnnjax.gradients.differentiation import conjugate, differentiate
from cnnjax.gradients.jaxprs import uses_only_builtin_rules
from cnnjax.gradients.programs import Program, concatenated
from cnnjax.gradients.report import Check
from cnnjax.gradients.user_code import first_line

__all__ = ["check_arguments_one_at_a_time", "check_batching"]

_SAMPLES = 3

_Way = Literal["some leaves", "all leaves", "cotangents or tangents"]
"""What ``jax.vmap`` batches."""


def check_batching(tested: CheckedMode) -> Iterator[Check | tuple[str, str]]:
    """Compare ``jax.vmap`` over distinct points with a loop over them: all leaves batched, and only some."""
    flat, strategy = tested.flat, tested.function.strategy
    name = f"vmap equals loop ({tested.mode})"
    rows = np.stack(tested.points[:_SAMPLES])
    if len(rows) < 2 or not strategy.traced:
        yield name, "it takes two points in the domain and a function that can be traced"
        return
    probes = np.stack([tested.probe * (k + 1) for k in range(len(rows))])
    shared = range(1, len(flat.inputs), 2)
    mixed = rows.copy()
    for i in shared:
        leaf = flat.inputs[i]
        mixed[:, leaf.start : leaf.stop] = rows[0, leaf.start : leaf.stop]
    cases: dict[_Way, list[tuple[np.ndarray, np.ndarray]]] = {"some leaves": [(x, probes[0]) for x in mixed]}
    if not tested.function.contains(uses_only_builtin_rules):
        cases["all leaves"] = [*zip(rows, probes, strict=True)]
        cases["cotangents or tangents"] = [(rows[0], probe) for probe in probes]
    possible: dict[_Way, Program] = {}
    for way in cases:
        batched = _batched(tested, way, shared)

        def flat_batched(x: Any, probe: Any, batched: Callable[[Any, Any], Any] = batched) -> Any:
            return batched(x.reshape(rows.shape), probe.reshape(probes.shape)).reshape(-1)

        try:
            possible[way] = Program(flat_batched, (rows.size, probes.size), strategy)
        except Exception as error:  # no batching rule, or one that raises
            yield f"{name}, {way}", first_line(error)
    if not possible:
        return
    try:
        found = concatenated(possible.values())(rows.reshape(-1), probes.reshape(-1))
    except Exception as error:  # a rule that raises when it runs
        yield name, first_line(error)
        return
    expected = [(tested.program(x, probe), tested.noise_at(x, probe)) for way in possible for x, probe in cases[way]]
    found = found.reshape(len(expected), -1)
    yield tested.check("vmap equals loop", [(f, *case) for f, case in zip(found, expected, strict=True)])


def _batched(tested: CheckedMode, way: _Way, shared: Sequence[int]) -> Callable[[Any, Any], Any]:
    """Return the derivative as a function of (samples, probes), batched by ``jax.vmap`` in one of three ways."""
    flat, widened = tested.flat, tested.function.strategy.widened

    def derivative(arrays: Sequence[Any], probe: Any) -> Any:
        if tested.mode != "rev":
            probe = flat.split(probe, widened)
        found = differentiate(tested.mode, lambda arrays: flat.join(arrays, widened), arrays, probe)[0]
        return flat.pack(conjugate(jax.tree.leaves(found)))

    def run(rows: Any, probes: Any) -> Any:
        batched = jax.vmap(lambda v: flat.split(v, widened))(rows)
        first = flat.split(rows[0], widened)
        if way == "all leaves":
            return jax.vmap(derivative)(batched, probes)
        if way == "cotangents or tangents":
            return jax.vmap(derivative, in_axes=(None, 0))(first, probes)
        some = [first[i] if i in shared else array for i, array in enumerate(batched)]
        axes = [None if i in shared else 0 for i in range(len(some))]
        return jax.vmap(derivative, in_axes=(axes, None))(some, probes[0])

    return run


def check_arguments_one_at_a_time(tested: CheckedMode) -> Iterator[Check]:
    """Compare the derivative by all arguments with those by each, the others held constant.

    So also for the outputs of a reverse rule: each alone has a cotangent.
    """
    flat, widened = tested.flat, tested.function.strategy.widened

    def apart(x: Any, probe: Any) -> Any:
        arrays = flat.split(x, widened)

        def moving(i: int, kept: slice) -> Callable[[Any], Any]:
            return lambda array: flat.pack(flat.call([*arrays[:i], array, *arrays[i + 1 :]])[kept], widened)

        if tested.mode != "rev":
            tangents = flat.split(probe, widened)
            parts = [
                differentiate(tested.mode, moving(i, slice(None)), array, tangents[i])[0]
                for i, array in enumerate(arrays)
            ]
            return sum(parts[1:], parts[0])
        gradients = []
        for i, array in enumerate(arrays):
            of_outputs = [
                differentiate("rev", moving(i, slice(j, j + 1)), array, probe[leaf.start : leaf.stop])[0]
                for j, leaf in enumerate(flat.outputs)
            ]
            gradients.append(sum(of_outputs[1:], of_outputs[0]))
        return flat.pack(conjugate(gradients), widened)

    x, probe = tested.points[0], tested.probe
    try:
        found = Program(apart, (len(x), len(probe)), tested.function.strategy)(x, probe)
    except Exception as error:  # the user's code: whatever it raises
        note = f"by one argument at a time: {first_line(error)}"
        yield Check(f"the rule runs ({tested.mode})", "given", 1, 0, np.inf, note=note)
        return
    yield tested.check("one argument at a time", [(found, tested.program(x, probe), tested.noise_at(x, probe))])
