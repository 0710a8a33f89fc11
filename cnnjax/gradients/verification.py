"""One run of a gradient verification: which checks are made at which points, order by order.

The steps: run each rule without jit (`run_eagerly`), choose how to run the function in float64 (`choose_strategy`),
compare each derivative with finite differences at three points (`check_segments`), check its properties
(`check_consistency`), and then do the same for the derivatives as functions, up to the order that was asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cnnjax._core.messages import value_error
from cnnjax.gradients.checked_function import CheckedFunction, RuleRaisedError, choose_strategy
from cnnjax.gradients.checked_mode import CheckedMode, listed_if_undecided
from cnnjax.gradients.comparison import Comparator
from cnnjax.gradients.consistency import check_consistency
from cnnjax.gradients.deadline import TIME_IS_UP, Deadline
from cnnjax.gradients.diagnosis import CHECK_DIAGNOSES, diagnose_comparison
from cnnjax.gradients.differentiation import Mode, differentiate
from cnnjax.gradients.domain import may_be_outside_the_domain
from cnnjax.gradients.eager import EagerRun, run_eagerly
from cnnjax.gradients.elements import check_every_element
from cnnjax.gradients.finite_differences import FiniteDifferences, Segment, line_through_ties, lines_through
from cnnjax.gradients.flat_function import FlatFunction
from cnnjax.gradients.jaxprs import STOP_GRADIENT
from cnnjax.gradients.leaves import Leaf, representable
from cnnjax.gradients.localization import check_segments, find_suspects
from cnnjax.gradients.own_dtype import check_higher_order_in_own_dtype
from cnnjax.gradients.points import (
    points_to_check,
    random_shift,
    segments_of_groups,
    segments_of_ties,
    segments_to_check,
    symmetric_leaves,
)
from cnnjax.gradients.progress import Progress
from cnnjax.gradients.report import NO_MODE, NOTHING_VERIFIED, Check, GradientReport, TaylorTest
from cnnjax.gradients.richardson import LADDER
from cnnjax.gradients.taylor import taylor_test
from cnnjax.gradients.user_code import EvaluationError, first_line, has_no_derivative
from cnnjax.gradients.without_jit import check_without_jit

__all__ = ["Request", "verify"]


_FIRST_MODE = 0.7  # of that; the other modes compare with the same differences
_STOPS_EARLY = "an iteration inside stops early; derivatives are compared up to its error, which is measured as"
_SHARE = 0.5  # of the time that is left, for the comparisons at one point
_OUTSIDE = "it differs from finite differences, but the point may be outside the domain"


@dataclass(frozen=True)
class Request:
    """What the caller of ``check_grads`` asked for."""

    order: int
    modes: tuple[Mode, ...]
    tolerances: tuple[float, float]
    """The caller's atol and rtol."""
    seed: int
    exhaustive: bool
    seconds: float
    """The time to spend."""
    intended: frozenset[str] = frozenset()
    """The rules that are meant to differ from the derivative of their function."""

    @property
    def probe_scale(self) -> float:
        """The size of cotangents and tangents: small where a rule that is taken as given may clip them."""
        return 2.0**-40 if self.intended - {STOP_GRADIENT} else 1.0


@dataclass
class _Findings:
    """What the steps of one verification have found so far."""

    checks: list[Check] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    diagnosis: tuple[str, ...] = ()
    taylor: TaylorTest | None = None
    evaluations: int = 0

    def add(self, found: Iterable[Check | tuple[str, str]]) -> None:
        for one in found:
            if not isinstance(one, Check):
                self.skipped.append(one)
                continue
            self.checks.append(one)
            if one.left_out:
                what = f"{one.name} at the {one.point} point, order {one.order}, by themselves"
                self.skipped.append((f"{what}: {', '.join(one.left_out)}", TIME_IS_UP))

    def fail(self, name: str, order: int, note: str) -> None:
        self.checks.append(Check(name, "given", order, 0, np.inf, note=note))


@dataclass(frozen=True)
class _Verification:
    """The user's function, what was asked about it, and what does not change from order to order."""

    flat: FlatFunction
    request: Request
    probes: Mapping[Mode, np.ndarray]
    eager: Mapping[Mode, EagerRun | Exception]
    findings: _Findings
    progress: Progress


@dataclass(frozen=True)
class _Stage:
    """A function to verify: the user's own, or one of its derivatives."""

    function: CheckedFunction
    inputs: tuple[Leaf, ...]
    outputs: tuple[Leaf, ...]
    x: np.ndarray
    order: int
    """Of the derivative that is verified here."""
    own: Callable[[Any], Any]
    """The function of a vector in its own dtype."""


def verify(name: str, flat: FlatFunction, request: Request) -> GradientReport:
    """Make all checks of the function ``name`` and return the report."""
    started, deadline = time.perf_counter(), Deadline.after(request.seconds)
    findings, progress = _Findings(skipped=list(flat.skipped)), Progress(name, request.seconds)
    precision, intended = "no dtype", ()
    if reason := _nothing_to_verify(flat):
        findings.fail(NOTHING_VERIFIED, 1, reason)
    elif not len(flat.point) or not len(flat.value):
        findings.skipped.append(("everything", "all arrays that go in or come out are empty"))
    else:
        run = _run_rules_eagerly(flat, request, findings, progress)
        try:
            progress("tracing and compiling in float64")
            function, unavailable, reasons = choose_strategy(flat, request.modes, request.intended)
        except RuleRaisedError as error:
            findings.fail("the rule runs", 1, str(error))
        else:
            precision = function.strategy.name
            findings.skipped[:0] = [("another way to run it", reason) for reason in reasons]
            intended = _describe_intended(function, request.intended, reasons)
            for mode, eager in run.eager.items():  # a mode that exists under jit alone is not one that a user has
                if isinstance(eager, Exception) and has_no_derivative(eager):
                    unavailable.setdefault(mode, f"without jit, {first_line(eager)}")
            _verify_stage(
                run,
                _Stage(function, flat.inputs, flat.outputs, flat.point, 1, flat.in_own_dtype),
                unavailable,
                deadline,
            )
    progress.close()
    return GradientReport(
        function=name,
        checks=tuple(findings.checks),
        skipped=tuple(findings.skipped),
        precision=precision,
        evaluations=findings.evaluations,
        seed=request.seed,
        diagnosis=findings.diagnosis or _diagnose_checks(findings.checks),
        taylor=findings.taylor,
        intended=intended,
        warnings=tuple(findings.warnings),
        seconds=time.perf_counter() - started,
    )


def _nothing_to_verify(flat: FlatFunction) -> str | None:
    """Return why a function has no derivative at all, which is not what its user believes."""
    if not flat.inputs:
        return "No argument is a floating or complex array."
    if not flat.outputs:
        return "The function returns no floating or complex array."
    if len(flat.value) and not np.isfinite(flat.value).any():
        return "The function is not finite at the given point."
    return None


def _run_rules_eagerly(flat: FlatFunction, request: Request, findings: _Findings, progress: Progress) -> _Verification:
    """Draw a probe for each mode and run its rule with it, before anything is traced in float64."""
    rng = np.random.default_rng([request.seed, 0])
    probes: dict[Mode, np.ndarray] = {}
    for mode in request.modes:
        if mode == "rev":  # a cotangent: zero where the function is not finite
            draw = np.where(np.isfinite(flat.value), rng.normal(size=len(flat.value)), 0.0)
        else:
            draw = rng.normal(size=len(flat.point))
        probes[mode] = request.probe_scale * draw
    near = representable(flat.point + 2.0**-12 * random_shift(flat.point, flat.inputs, rng), flat.inputs)
    eager: dict[Mode, EagerRun | Exception] = {}
    for mode in request.modes:
        progress(f"the rule without jit ({mode})")
        eager[mode] = run_eagerly(flat, mode, [flat.point, near], probes[mode])
    return _Verification(flat, request, probes, eager, findings, progress)


def _describe_intended(function: CheckedFunction, names: frozenset[str], reasons: Sequence[str]) -> tuple[str, ...]:
    """Say which rules are intended to differ and how often they occur; one that does not occur is an error."""
    problem = None
    if names and not function.strategy.traced:
        problem = f"a function that cannot be traced here ({'; '.join(reasons)})", "check its parts"
    elif missing := sorted(names - set(function.rules)):
        problem = f"rules that f does not use: {', '.join(missing)}", "leave them out"
    if problem:
        expected = "rules in a function that can be traced"
        raise value_error("check_grads", "intended", got="for " + problem[0], expected=expected, fix=problem[1])
    samplers = [f"{name} (a rejection sampler: its rule is that of the quantile)" for name in function.intended - names]
    return (*(f"{name} ({function.rules[name]} times)" for name in sorted(names)), *sorted(samplers))


def _diagnose_checks(checks: Sequence[Check]) -> tuple[str, ...]:
    """Return what is likely wrong, by the names and notes of the checks that failed."""
    failed = {key for check in checks if not check.ok for key in (check.name.split(" (")[0], check.note)}
    return tuple(text for name, text in CHECK_DIAGNOSES.items() if name in failed)


def _verify_stage(run: _Verification, stage: _Stage, unavailable: Mapping[Mode, str], deadline: Deadline) -> None:
    """Verify the derivatives of one function, and then those of its derivatives."""
    findings, request, order = run.findings, run.request, stage.order
    modes: tuple[Mode, ...] = tuple(mode for mode in request.modes if mode not in unavailable)
    findings.skipped += [(f'mode "{mode}", order {order}', reason) for mode, reason in unavailable.items()]
    if not modes:
        findings.fail(NO_MODE, order, "; ".join(unavailable.values()))
        return
    rng = np.random.default_rng([request.seed, order])
    points, skipped = points_to_check(stage.function, stage.x, stage.inputs, order, rng)
    findings.skipped += skipped
    right, finite, given, around = True, True, None, []
    jumps = np.zeros(stage.function.m)
    here = deadline.part(0.5) if order < request.order else deadline  # the rest is for the next order
    for name, point in points.items():
        if not right or (name != "given" and here.is_up):
            reason = TIME_IS_UP if right else "the derivative is wrong already"
            findings.skipped.append((f"the {name} point, order {order}", reason))
            continue
        compared = len(findings.checks)
        try:
            comparator, right, jumps = _compare_at(run, stage, modes, name, point, jumps, rng, here.part(_SHARE))
        except EvaluationError as error:
            if name == "given":
                findings.fail("the rule runs", order, first_line(error))
                return
            findings.skipped.append((f"the {name} point, order {order}", first_line(error)))
            continue
        if name != "sign-flipped":
            around.append(point)
        given = given or comparator
        finite &= not any(np.isinf(check.worst) for check in findings.checks[compared:])
        if name == "given" and order == 1 and finite:
            for mode, tested in _tested(run, stage, _gradient_first(modes), [point], here).items():
                checks = check_without_jit(tested)
                findings.add(listed_if_undecided(f"the rule without jit ({mode})", checks))
    if order > 1 and right:
        _check_in_own_dtype(run, stage, modes[-1], rng)
    if order == 1 and not finite:
        reason = "the derivative is not finite, or infinitely wrong"
        findings.skipped.append(("the consistency of the derivatives", reason))
    elif order == 1:
        findings.add(check_consistency(_tested(run, stage, modes, around, here), rng, run.progress))
    if order < request.order and (not right or deadline.is_up):
        reason = TIME_IS_UP if right else f"the derivative of order {order} is wrong"
        findings.skipped.append((f"order {order + 1}", reason))
    elif order < request.order:
        for i, mode in enumerate(modes):
            _verify_derivative(run, stage, mode, given, rng, deadline.part(1 / (len(modes) - i)))


def _gradient_first(modes: Sequence[Mode]) -> list[Mode]:
    """Return the modes with "rev" first: a gradient says more than a tangent."""
    return sorted(modes, key=lambda mode: mode != "rev")


def _tested(
    run: _Verification, stage: _Stage, modes: Sequence[Mode], points: Sequence[np.ndarray], deadline: Deadline
) -> dict[Mode, CheckedMode]:
    """Return what the checks of a derivative's properties need of each mode."""
    return {
        mode: CheckedMode(mode, run.flat, stage.function, tuple(points), run.probes[mode], run.eager[mode], deadline)
        for mode in modes
    }


def _check_in_own_dtype(run: _Verification, stage: _Stage, mode: Mode, rng: np.random.Generator) -> None:
    """Run the derivative of a derivative in the function's own dtype."""
    function, unit = stage.function, stage.function.unit
    if unit is None or unit <= function.strategy.epsilon:
        return
    probe = run.request.probe_scale * rng.normal(size=function.probe_size(mode))
    exact = function.derivative_program(mode).or_nan(stage.x, probe)
    leaves = stage.inputs if mode == "rev" else stage.outputs
    run.findings.add(
        check_higher_order_in_own_dtype(mode, stage.own, (stage.x, probe), exact, unit, leaves, stage.order)
    )


def _compare_at(
    run: _Verification,
    stage: _Stage,
    modes: Sequence[Mode],
    name: str,
    point: np.ndarray,
    jumps: np.ndarray,
    rng: np.random.Generator,
    deadline: Deadline,
) -> tuple[Comparator | None, bool, np.ndarray]:
    """Compare the derivatives in every mode with differences at one point, and return whether all agree.

    The comparison at the given point is returned too, where there is a next order that takes it up, and by how much the
    results of an iteration inside have been found to jump.
    """
    findings, request = run.findings, run.request
    function, inputs, given = stage.function, stage.inputs, name == "given"
    symmetric = symmetric_leaves(function, point, inputs)
    lines = np.concatenate([lines_through(point, inputs, rng, symmetric), line_through_ties(point, inputs)])
    differences = FiniteDifferences(function.program, point, lines, jumps)
    segments = [*segments_to_check(inputs, rng, 2 if given else 0, symmetric), *segments_of_ties(lines)]
    affordable = deadline.left / (2 * len(LADDER) * max(differences.seconds, 1e-6))
    thrifty = len(segments) > affordable
    if thrifty:
        segments = [*segments_of_groups(inputs, max(1, int(affordable / 2))), *segments]
    weights = request.probe_scale * rng.normal(size=function.m) / differences.output_scale
    comparators: list[Comparator] = []
    failed: list[Comparator] = []
    suspects: list[Segment] = []
    for mode in _gradient_first(modes):
        if thrifty and failed:
            findings.skipped.append((f'mode "{mode}" at the {name} point', "the gradient is wrong already"))
            continue
        run.progress(f"gradient ({mode}) at the {name} point, order {stage.order}")
        comparator = Comparator(
            function, differences, mode, weights, inputs, stage.outputs, request.tolerances, thrifty
        )
        comparators.append(comparator)
        suspects = suspects or find_suspects(comparator, symmetric)
        until = deadline if len(comparators) == len(modes) else deadline.part(_FIRST_MODE)
        check = check_segments(comparator, segments, name, stage.order, suspects, until)
        if name == "sign-flipped" and not check.ok and may_be_outside_the_domain(comparator, check, segments):
            findings.warnings.append(f"{check.name}, order {stage.order}, at the sign-flipped point: {_OUTSIDE}")
            continue
        findings.add([check])
        failed += [] if check.ok else [comparator]
    passed = [comparator for comparator in comparators if comparator not in failed]
    if given and request.exhaustive and passed:
        for comparator, check in zip(passed, check_every_element(passed, stage.order, deadline), strict=True):
            findings.add([check])
            failed += [] if check.ok else [comparator]
    if (error := float(np.maximum(differences.jumps, differences.left_by_stopping).max(initial=0.0))) > 0:
        findings.warnings.append(f"{_STOPS_EARLY} {error:.1e} at the {name} point, order {stage.order}")
    if given and stage.order == 1:
        findings.taylor = taylor_test(comparators[0])
    if failed and not findings.diagnosis:
        findings.diagnosis = diagnose_comparison(failed[0])
    findings.evaluations += differences.evaluations
    kept = comparators[0] if given and stage.order < request.order else None
    return kept, not failed, differences.jumps


def _verify_derivative(
    run: _Verification,
    stage: _Stage,
    mode: Mode,
    given: Comparator | None,
    rng: np.random.Generator,
    deadline: Deadline,
) -> None:
    """Verify the derivatives of a derivative, a function of the point and its probe."""
    function, x = stage.function, stage.x
    along, kind = (stage.outputs, "cotangent") if mode == "rev" else (stage.inputs, "tangent")
    probe = run.request.probe_scale * rng.normal(size=function.probe_size(mode))
    extra = tuple(Leaf(f"{kind} of {a.name}", a.shape, a.dtype, a.start + function.n) for a in along)
    try:
        derivative = function.derivative_function(mode, probe)
        unavailable = derivative.unavailable(run.request.modes)
    except RuleRaisedError as error:
        run.findings.fail("the rule runs", stage.order + 1, str(error))
        return
    if stage.order == 1 and given and given.mode == mode == "rev" and "rev" not in unavailable:
        line = given.differences.lines[0]
        hessian_line = derivative.derivative_program("rev")(np.concatenate([x, given.weights]), line)[: function.n]
        run.findings.taylor = taylor_test(given, float(hessian_line @ line))
    outputs = stage.inputs if mode == "rev" else stage.outputs
    point = np.concatenate([x, probe])

    def own(z: Any) -> Any:
        return differentiate(mode, stage.own, z[: function.n], z[function.n :])[0]

    further = _Stage(derivative, stage.inputs + extra, outputs, point, stage.order + 1, own)
    _verify_stage(run, further, unavailable, deadline)
