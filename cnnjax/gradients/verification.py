"""One run of a gradient verification: which checks are made at which points, order by order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cnnjax._core.messages import value_error
from cnnjax.gradients.diagnosis import LAW_DIAGNOSES, diagnose
from cnnjax.gradients.exhaustive import check_every_element
from cnnjax.gradients.intended import STOPPED
from cnnjax.gradients.judge import Judge
from cnnjax.gradients.laws import laws, run_as_python
from cnnjax.gradients.leaves import FlatFunction, Leaf, representable
from cnnjax.gradients.programs import RuleRaised, Subject, choose_subject
from cnnjax.gradients.referee import Referee, Stretch, lines_through, magnitudes
from cnnjax.gradients.report import Check
from cnnjax.gradients.taylor import Taylor, expand

__all__ = ["Request", "Verification"]


@dataclass(frozen=True)
class Request:
    """What the caller of ``check_grads`` asked for."""

    order: int
    modes: tuple[str, ...]
    slack: tuple[float, float]
    seed: int
    exhaustive: bool
    intended: frozenset[str] = frozenset()
    """The rules that are meant to differ from the derivative of their function."""

    @property
    def weight(self) -> float:
        """The size of cotangents and tangents: small where a rule that is taken as given may clip them."""
        return 2.0**-40 if self.intended - {STOPPED} else 1.0


@dataclass(frozen=True)
class _Stage:
    """A function to verify: the user's own, or one of its derivatives."""

    subject: Subject
    inputs: tuple[Leaf, ...]
    outputs: tuple[Leaf, ...]
    x: np.ndarray
    order: int
    """Of the derivative that is verified here."""
    modes: tuple[str, ...]
    """Those that exist."""


class Verification:
    """Makes all checks when it is constructed, and then holds what was found."""

    def __init__(self, flat: FlatFunction, request: Request) -> None:
        self.flat, self.request = flat, request
        self.checks: list[Check] = []
        self.skipped: list[tuple[str, str]] = list(flat.skipped)
        self.diagnosis: tuple[str, ...] = ()
        self.taylor: Taylor | None = None
        self.intended: tuple[str, ...] = ()
        self.precision, self.evaluations = "no dtype", 0
        if not sum(leaf.size for leaf in flat.inputs) or not sum(leaf.size for leaf in flat.outputs):
            self.skipped.append(("everything", "nothing goes in or comes out that has a derivative"))
            return
        rng = np.random.default_rng([request.seed, 0])
        self.law_weights = {mode: self._weights(mode, rng) for mode in request.modes}
        near = representable(flat.point + 2.0**-12 * _shift(flat.point, flat.inputs, rng), flat.inputs)
        self.runs = {
            mode: run_as_python(flat, mode, [flat.point, near], self.law_weights[mode]) for mode in request.modes
        }
        try:
            subject, unavailable, reasons = choose_subject(flat, request.modes, request.intended)
        except RuleRaised as error:
            self._fail("the rule runs", 1, str(error))
            return
        self.precision = subject.setting.name
        self.skipped[:0] = [("another way to run it", reason) for reason in reasons]
        self._take_as_given(subject, reasons)
        self._verify(subject, flat.inputs, flat.outputs, flat.point, 1, unavailable)
        if not self.diagnosis:
            broken = {key for check in self.checks if not check.ok for key in (check.name.split(" (")[0], check.note)}
            self.diagnosis = tuple(text for law, text in LAW_DIAGNOSES.items() if law in broken)

    def _weights(self, mode: str, rng: np.random.Generator) -> np.ndarray:
        """Return a random cotangent for "rev", zero where the function is not finite, or a random tangent."""
        if mode != "rev":
            return self.request.weight * rng.normal(size=len(self.flat.point))
        value = self.flat.value
        return self.request.weight * np.where(np.isfinite(value), rng.normal(size=len(value)), 0.0)

    def _take_as_given(self, subject: Subject, reasons: Sequence[str]) -> None:
        """Note which rules are intended to differ; a declaration that cannot be kept is an error."""
        names = self.request.intended
        self.intended = tuple(f"{name} ({subject.rules[name]} times)" for name in sorted(names))
        problem = None
        if names and not subject.setting.traced:
            problem = f"a function that cannot be traced here ({'; '.join(reasons)})", "check its parts"
        elif missing := sorted(names - set(subject.rules)):
            problem = f"rules that f does not use: {', '.join(missing)}", "leave them out"
        if problem:
            expected = "rules in a function that can be traced"
            raise value_error("check_grads", "intended", got="for " + problem[0], expected=expected, fix=problem[1])

    def _fail(self, name: str, order: int, note: str) -> None:
        self.checks.append(Check(name, "given", order, 0, np.inf, note=note))

    def _verify(
        self,
        subject: Subject,
        inputs: tuple[Leaf, ...],
        outputs: tuple[Leaf, ...],
        x: np.ndarray,
        order: int,
        unavailable: dict[str, str],
    ) -> None:
        """Verify the derivatives of one function, and then those of its derivatives."""
        modes = tuple(mode for mode in self.request.modes if mode not in unavailable)
        self.skipped += [(f'mode "{mode}", order {order}', reason) for mode, reason in unavailable.items()]
        if not modes:
            self._fail("some mode exists", order, "; ".join(unavailable.values()))
            return
        stage = _Stage(subject, inputs, outputs, x, order, modes)
        rng = np.random.default_rng([self.request.seed, order])
        points = self._points(stage, rng)
        right = True
        for name, point in points.items():
            if right:
                right = self._compare(stage, name, point, rng)
            else:
                self.skipped.append((f"the {name} point, order {order}", "the derivative is wrong already"))
        if order == 1 and any(np.isinf(check.worst) for check in self.checks):
            self.skipped.append(("the laws of a derivative", "the derivative is not finite, or infinitely wrong"))
        elif order == 1:
            near = [points[name] for name in ("nearby",) if name in points]
            for found in laws(self.flat, subject, modes, [x, *near], self.law_weights, self.runs, rng):
                if isinstance(found, Check):
                    self.checks.append(found)
                else:
                    self.skipped.append(found)
        if order < self.request.order and not right:
            self.skipped.append((f"order {order + 1}", f"the derivative of order {order} is wrong"))
        elif order < self.request.order:
            for mode in modes:
                self._verify_derived(stage, mode, rng)

    def _compare(self, stage: _Stage, name: str, point: np.ndarray, rng: np.random.Generator) -> bool:
        """Compare the derivatives in every mode with differences at one point, and return whether all agree."""
        referee = Referee(stage.subject.function, point, lines_through(point, stage.inputs, rng))
        stretches = _stretches(stage.inputs, rng, elements=2 if name == "given" else 0)
        failed: list[Judge] = []
        for mode in stage.modes:
            weights = self.request.weight * rng.normal(size=stage.subject.m) / referee.output_scale
            judge = Judge(stage.subject, referee, mode, weights, stage.inputs, stage.outputs, self.request.slack)
            check = judge.check(stretches, name, stage.order)
            self.checks.append(check)
            if name == "given" and self.request.exhaustive and check.ok:
                check = check_every_element(judge, stage.order)
                self.checks.append(check)
            if name == "given" and stage.order == 1:
                self.judge, self.taylor = judge, expand(judge)
            if not check.ok:
                failed.append(judge)
        if failed and not self.diagnosis:
            judge = min(failed, key=lambda judge: judge.mode != "rev")  # a gradient says more than a tangent
            pair = judge.gradients()
            self.diagnosis = (*judge.surrogates(), *(diagnose(*pair, point, stage.inputs) if pair else ()))
        self.evaluations += referee.evaluations
        return not failed

    def _verify_derived(self, stage: _Stage, mode: str, rng: np.random.Generator) -> None:
        """Verify the derivatives of a derivative, a function of the point and its weights."""
        subject, x = stage.subject, stage.x
        along, kind = (stage.outputs, "cotangent") if mode == "rev" else (stage.inputs, "tangent")
        weights = self.request.weight * rng.normal(size=subject.weights_size(mode))
        extra = tuple(Leaf(f"{kind} of {a.name}", a.shape, a.dtype, a.start + subject.n) for a in along)
        try:
            derived = subject.derived(mode, weights)
            unavailable = derived.unavailable(self.request.modes)
        except RuleRaised as error:
            self._fail("the rule runs", stage.order + 1, str(error))
            return
        if stage.order == 1 and self.judge.mode == mode == "rev" and "rev" not in unavailable:
            line = self.judge.referee.lines[0]
            hessian_line = derived.derivative("rev")(np.concatenate([x, self.judge.weights]), line)[: subject.n]
            self.taylor = expand(self.judge, float(hessian_line @ line))
        outputs = stage.inputs if mode == "rev" else stage.outputs
        point = np.concatenate([x, weights])
        self._verify(derived, stage.inputs + extra, outputs, point, stage.order + 1, unavailable)

    def _points(self, stage: _Stage, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Return the given point, a random one nearby, and the given one with its sign flipped."""
        x, function = stage.x, stage.subject.function
        finite = np.isfinite(function(x))
        points = {"given": x}
        shift = _shift(x, stage.inputs, rng)
        for exponent in (-4, -8, -16):
            near = x + 2.0**exponent * shift
            if (np.isfinite(function(near)) == finite).all():
                points["nearby"] = near
                break
        else:
            self.skipped.append((f"a nearby point, order {stage.order}", "the function is not finite there"))
        if stage.subject.loops_on_values:
            reason = "a while_loop whose end depends on floats may not end there"
            if not stage.subject.setting.traced:
                reason = "what a function that cannot be traced does there is not known"
            self.skipped.append((f"the sign-flipped point, order {stage.order}", reason))
        elif stage.subject.iterates_under_a_rule:
            reason = "an iteration that a rule stands for may not converge there"
            self.skipped.append((f"the sign-flipped point, order {stage.order}", reason))
        elif np.isfinite(function(-x)).any():
            points["sign-flipped"] = -x
        else:
            self.skipped.append((f"the sign-flipped point, order {stage.order}", "it is outside the domain"))
        return points


def _shift(x: np.ndarray, leaves: Sequence[Leaf], rng: np.random.Generator) -> np.ndarray:
    """Return a random direction in proportion to each number."""
    shift = magnitudes(x, leaves) * rng.uniform(0.5, 1.0, x.shape) * rng.choice([-1.0, 1.0], x.shape)
    for leaf in leaves:
        _keep_symmetry(leaf, x, shift)
    return shift


def _keep_symmetry(leaf: Leaf, x: np.ndarray, shift: np.ndarray) -> None:
    """Make the shift of a symmetric matrix symmetric: a function may mean such matrices only."""
    if leaf.complex or len(leaf.shape) < 2 or leaf.shape[-1] != leaf.shape[-2]:
        return
    part = slice(leaf.start, leaf.stop)
    matrix, moves = x[part].reshape(leaf.shape), shift[part].reshape(leaf.shape)
    if (matrix == matrix.swapaxes(-1, -2)).all():
        shift[part] = ((moves + moves.swapaxes(-1, -2)) / 2).reshape(-1)


def _stretches(inputs: tuple[Leaf, ...], rng: np.random.Generator, elements: int) -> list[Stretch]:
    """Return every leaf along both lines, and a few single elements of each."""
    found = []
    for leaf in inputs:
        if leaf.size:
            found += [Stretch(line, leaf.start, leaf.stop) for line in (0, 1)]
            chosen = rng.choice(leaf.stop - leaf.start, min(elements, leaf.stop - leaf.start), replace=False)
            found += [Stretch(0, leaf.start + int(i), leaf.start + int(i) + 1) for i in chosen]
    return found
