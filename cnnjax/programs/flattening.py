"""A JAX program as one list of operations: a traced jaxpr with the jaxprs inside it written out.

Calls, custom derivative rules and rematerialised parts are replaced by what they contain. The body of a loop is written
out once, with the number of its iterations; of a condition, the branch with the most multiply-accumulates.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jax.core import ShapedArray

from cnnjax._core.jaxprs import WRAPPERS, is_literal, open_jaxpr, subjaxprs, unpack_scan
from cnnjax.programs.products import PRODUCTS, num_products

__all__ = ["INDEX", "POOL", "REPEAT", "STACK", "Operation", "Program", "flatten"]

INDEX, STACK, REPEAT, POOL = "scan: index", "scan: stack", "scan: carry", "cnnjax pool"
"""Operations that stand for parts of a loop (one item of a scanned array, the items stacked, a carry after all
iterations), and for the result of a pool of cnnjax, whose steps precede it."""

_UNKNOWN = frozenset({"ffi_call", "io_callback", "pure_callback", "ragged_dot_general"})
_POOLING = {"maximum": "MaxPool", "mean": "AvgPool", "subsampling": "Subsample"}
_POOLING_FOLDER = Path(__file__).parents[1] / "pooling"


@dataclass(frozen=True)
class Operation:
    """One equation of a flat program.

    Attributes:
        name: of its primitive.
        params: of its primitive.
        operands: variables; None for a number.
        results: variables.
        shapes_in, shapes_out: the abstract values of operands and results.
        scope: the named scopes around it, separated by "/".
        times: how often the loops around it run it.
        within_pool: whether it is a step of a pool of cnnjax.
        in_reverse: whether it is a part of the reverse pass of a derivative.
    """

    name: str
    params: Mapping[str, Any]
    operands: tuple[int | None, ...]
    results: tuple[int, ...]
    shapes_in: tuple[ShapedArray, ...]
    shapes_out: tuple[ShapedArray, ...]
    scope: str
    times: int
    within_pool: bool
    in_reverse: bool


@dataclass(frozen=True)
class Program:
    """A flat program.

    Attributes:
        operations: in the order of execution.
        arguments: the variables of the arguments' arrays, and their abstract values.
        captured: the same of the arrays that the function captures.
        results: the variables of what the function returns; None for a number.
        notes: what the counts leave out, or count once.
    """

    operations: tuple[Operation, ...]
    arguments: Mapping[int, ShapedArray]
    captured: Mapping[int, ShapedArray]
    results: tuple[int | None, ...]
    notes: tuple[str, ...]


def flatten(closed: Any) -> Program:
    """Write out a closed jaxpr."""
    writer = _Writer()
    jaxpr, consts = open_jaxpr(closed)
    arguments = {next(writer.variables): atom.aval for atom in jaxpr.invars}
    results = writer.write(jaxpr, consts, [*arguments], _Place())
    notes = tuple(dict.fromkeys(writer.notes))
    return Program(tuple(writer.operations), arguments, writer.captured, tuple(results), notes)


@dataclass(frozen=True)
class _Place:
    """Where an equation stands, as in `Operation`."""

    scope: str = ""
    times: int = 1
    within_pool: bool = False
    in_reverse: bool = False


@dataclass
class _Writer:
    variables: Iterator[int] = field(default_factory=itertools.count)
    operations: list[Operation] = field(default_factory=list[Operation])
    captured: dict[int, ShapedArray] = field(default_factory=dict[int, ShapedArray])
    notes: list[str] = field(default_factory=list[str])
    variable_of_constant: dict[int, int] = field(default_factory=dict[int, int])
    constants: list[Any] = field(default_factory=list[Any])  # kept alive, so that each has an id of its own

    def write(
        self, jaxpr: Any, consts: Sequence[Any], operands: Sequence[int | None], place: _Place
    ) -> list[int | None]:
        """Write out an open jaxpr with these operands; return the variables of its results."""
        known: dict[Any, int | None] = dict(zip(jaxpr.invars, operands, strict=True))
        for variable, const in zip(jaxpr.constvars, consts, strict=True):
            known[variable] = self._constant(const, variable.aval)
        for eqn in jaxpr.eqns:
            read = [self._read(atom, known) for atom in eqn.invars]
            stack = str(eqn.source_info.name_stack)
            scope, in_reverse = _join(place.scope, scope_of(stack)), place.in_reverse or "transpose(" in stack
            inner = replace(place, scope=scope, in_reverse=in_reverse)
            known.update(zip(eqn.outvars, self._equation(eqn, read, inner), strict=True))
        return [self._read(atom, known) for atom in jaxpr.outvars]

    def _read(self, atom: Any, known: Mapping[Any, int | None]) -> int | None:
        if is_literal(atom):
            return self._constant(atom.val, atom.aval) if getattr(atom.aval, "shape", ()) else None
        return known[atom]

    def _constant(self, const: Any, aval: Any) -> int:
        if id(const) not in self.variable_of_constant:
            variable = next(self.variables)
            self.constants.append(const)
            self.variable_of_constant[id(const)] = variable
            self.captured[variable] = aval
        return self.variable_of_constant[id(const)]

    def _equation(self, eqn: Any, read: list[int | None], place: _Place) -> list[int | None]:
        name = eqn.primitive.name
        if name == "scan":
            return self._scan(eqn, read, place)
        if name == "while":
            return self._while(eqn, read, place)
        if name == "cond":
            branches = [open_jaxpr(branch) for branch in eqn.params["branches"]]
            jaxpr, consts = max(branches, key=lambda branch: _num_products(branch[0]))
            if len({_num_products(branch) for branch, _ in branches}) > 1:
                self.notes.append("of a condition, the branch with the most multiply-accumulates is counted")
            return self.write(jaxpr, consts, read[1:], place)
        if name in WRAPPERS:
            return self._call(eqn, read, place)
        if any(map(_num_products, subjaxprs(eqn))):
            self.notes.append(f"the products inside {name} are not counted")
        if name in _UNKNOWN:
            self.notes.append(f"what {name} computes is not known, and not counted")
        results = [next(self.variables) for _ in eqn.outvars]
        self._append(name, eqn.params, read, results, eqn.invars, eqn.outvars, place)
        return [*results]

    def _append(
        self,
        name: str,
        params: Mapping[str, Any],
        read: Sequence[int | None],
        results: Sequence[int],
        atoms_in: Sequence[Any],
        atoms_out: Sequence[Any],
        place: _Place,
    ) -> None:
        of_operands, of_results = (tuple(atom.aval for atom in atoms) for atoms in (atoms_in, atoms_out))
        self.operations.append(
            Operation(
                name,
                params,
                tuple(read),
                tuple(results),
                of_operands,
                of_results,
                place.scope,
                place.times,
                place.within_pool,
                place.in_reverse,
            )
        )

    def _call(self, eqn: Any, read: list[int | None], place: _Place) -> list[int | None]:
        jaxpr, consts = open_jaxpr(eqn.params[WRAPPERS[eqn.primitive.name]])
        pool = None if place.within_pool or place.in_reverse else _pool_of_cnnjax(jaxpr)
        if pool is None:
            return self.write(jaxpr, consts, read, place)
        first, *rest = self.write(jaxpr, consts, read, replace(place, within_pool=True))
        result = next(self.variables)
        atoms = (eqn.outvars[0], *eqn.invars)
        self._append(POOL, {"kind": pool}, (first, *read), (result,), atoms, eqn.outvars[:1], place)
        return [result, *rest]

    def _scan(self, eqn: Any, read: list[int | None], place: _Place) -> list[int | None]:
        params, (jaxpr, consts) = eqn.params, open_jaxpr(eqn.params["jaxpr"])
        length = params["length"]
        consts_in, carry, _ = map(len, unpack_scan(params, [*eqn.invars]))
        last = consts_in + carry
        of_body = [*read[:last]]
        for operand, atom, inner in zip(read[last:], eqn.invars[last:], jaxpr.invars[last:], strict=True):
            item = next(self.variables)
            self._append(INDEX, {"length": length}, (operand,), (item,), (atom,), (inner,), place)
            of_body.append(item)
        results = self.write(jaxpr, consts, of_body, replace(place, times=place.times * length))
        after: list[int | None] = []
        for i, (result, atom, outer) in enumerate(zip(results, jaxpr.outvars, eqn.outvars, strict=True)):
            whole = next(self.variables)
            if i < carry:
                operands, atoms = (read[consts_in + i], result), (eqn.invars[consts_in + i], atom)
                self._append(REPEAT, {"length": length}, operands, (whole,), atoms, (outer,), place)
            else:
                self._append(STACK, {"length": length}, (result,), (whole,), (atom,), (outer,), place)
            after.append(whole)
        return after

    def _while(self, eqn: Any, read: list[int | None], place: _Place) -> list[int | None]:
        jaxpr, consts = open_jaxpr(eqn.params["body_jaxpr"])
        if _num_products(jaxpr):
            self.notes.append("the body of a while loop, whose number of iterations is not known, is counted once")
        first = eqn.params["cond_nconsts"]
        return self.write(jaxpr, consts, read[first:], place)


def _num_products(jaxpr: Any) -> int:
    """The multiply-accumulates of a jaxpr, those of the jaxprs inside it included."""
    total = 0
    for eqn in open_jaxpr(jaxpr)[0].eqns:
        name = eqn.primitive.name
        if name in PRODUCTS:
            shapes = [atom.aval.shape for atom in eqn.invars]
            total += num_products(name, eqn.params, shapes, eqn.outvars[0].aval.shape)
        inner = [_num_products(sub) for sub in subjaxprs(eqn)]
        total += max(inner, default=0) if name == "cond" else sum(inner) * eqn.params.get("length", 1)
    return total


def _pool_of_cnnjax(jaxpr: Any) -> str | None:
    """The kind of pool of which a jaxpr is the value, if `cnnjax.pooling` made it."""
    traced = getattr(jaxpr.debug_info, "func_src_info", None) or ""
    found = re.fullmatch(r"(?:_value|_compute) at (.*\.py):\d+", traced)
    if found is None or Path(found[1]).parent != _POOLING_FOLDER:
        return None
    return _POOLING.get(Path(found[1]).stem)


def scope_of(stack: str) -> str:
    """The named scopes of a name stack, without the transformations around them.

    >>> scope_of("vmap(jvp(Net/Conv_0))/transpose(jvp())"), scope_of("~/conv(3x3)")
    ('Net/Conv_0', '~/conv(3x3)')
    """
    previous = None
    while previous != stack:
        previous, stack = stack, re.sub(r"\b(?:vmap|jvp|transpose|jit|pjit|remat|checkpoint)\(([^()]*)\)", r"\1", stack)
    return "/".join(part for part in stack.split("/") if part)


def _join(*scopes: str) -> str:
    return "/".join(scope for scope in scopes if scope)
