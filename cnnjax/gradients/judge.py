"""Compare the derivatives that the rules give with those of the referee, and find which elements are wrong.

A stretch of a leaf is compared as a whole first: with an error bar of 1e-10 of the sum, one wrong element in
10^5 is seen. A comparison that fails is repeated with the function's round-off measured, with finer steps,
and with the rule's own round-off added to the bar; only then is the stretch cut in two until the wrong
element is alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

import numpy as np

from cnnjax.gradients.intended import STOPPED
from cnnjax.gradients.leaves import Leaf, find_leaf
from cnnjax.gradients.numerical import FINE_LADDER, LADDER, SIGNIFICANT, Derivative
from cnnjax.gradients.programs import Subject
from cnnjax.gradients.referee import Referee, Stretch, derivatives_of
from cnnjax.gradients.report import NOT_FINITE, Check, Wrong

__all__ = ["UNCONVERGED", "Judge", "Verdict"]

_MANY_OUTPUTS = 512
_FEW_INPUTS = 512
UNCONVERGED = 2.0**-14
_AROUND = 12  # points around a kink
_RULES = 4  # suspects whose gradient is computed to explain a wrong one
_SINGLE = float(np.finfo(np.float32).eps)
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Verdict:
    """What the rule claims and what the referee says, arrays of shape (stretches, outputs)."""

    claimed: np.ndarray
    referee: Derivative
    own: np.ndarray
    """The round-off of the claim itself."""
    slack: np.ndarray
    """What the caller lets pass besides."""
    floor: np.ndarray
    """The bar that round-off leaves at the largest step, which no finer step can better."""

    @property
    def ratio(self) -> np.ndarray:
        """The distance of the claim from the referee's interval over what the bars allow."""
        with np.errstate(invalid="ignore", divide="ignore"):
            allowed = np.maximum(SIGNIFICANT * (self.referee.bar + self.own), self.slack)
            ratio = np.where(allowed > 0, self.referee.miss(self.claimed) / allowed, 0.0)
            ratio = np.where((allowed == 0) & (self.referee.miss(self.claimed) > 0), np.inf, ratio)
        return np.where(np.isfinite(self.referee.bar), np.nan_to_num(ratio, nan=0.0, posinf=np.inf), 0.0)

    @property
    def uncertain(self) -> np.ndarray:
        """Where something is claimed and the bar is not small beside it, for other reasons than round-off."""
        size = np.maximum(abs(self.claimed), np.nan_to_num(abs(self.referee.value)))
        return ~(self.referee.bar <= np.maximum(1e-3 * size, SIGNIFICANT * self.floor)) & (self.claimed != 0)

    @property
    def unresolved(self) -> np.ndarray:
        """Where something is claimed that differences say nothing about."""
        return self.uncertain | (np.isinf(self.referee.bar) & (self.claimed != 0))

    def replaced(self, rows: np.ndarray, other: Verdict) -> Verdict:
        """Return a copy with some rows from another verdict."""
        mine = (self.claimed, *self.referee.fields, self.own, self.slack, self.floor)
        theirs = (other.claimed, *other.referee.fields, other.own, other.slack, other.floor)
        merged = [column.copy() for column in mine]
        for column, new in zip(merged, theirs, strict=True):
            column[rows] = new
        return Verdict(merged[0], Derivative(*merged[1:5]), *merged[5:])


class Judge:
    """Compares one derivative program (a mode, and for "rev" a cotangent) with the referee at one point."""

    def __init__(
        self,
        subject: Subject,
        referee: Referee,
        mode: str,
        weights: np.ndarray,
        inputs: Sequence[Leaf],
        outputs: Sequence[Leaf],
        slack: tuple[float, float],
    ) -> None:
        self.subject, self.referee, self.mode = subject, referee, mode
        self.inputs, self.outputs, self.slack = inputs, outputs, slack
        self.finite = np.isfinite(referee.centre)
        self.weights = np.where(self.finite, weights, 0.0)
        if mode == "rev":
            self.gradient = subject.derivative("rev")(referee.x, self.weights)
            plain = subject.plain_gradient if subject.has_rules else None
            self.plain = plain(referee.x, self.weights) if plain else None
        else:
            self.plain = None

    def claims(self, stretches: Sequence[Stretch], careful: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return what the rule says along each stretch, and the round-off of that."""
        x, lines = self.referee.x, self.referee.lines
        if self.mode == "rev":
            noise = self._gradient_noise if careful else np.zeros_like(x)
            parts = [(slice(s.start, s.stop), lines[s.line, s.start : s.stop]) for s in stretches]
            with np.errstate(invalid="ignore"):
                claimed = np.array([[self.gradient[part] @ v] for part, v in parts])
                own = np.array([[(noise[part] + _EPS * abs(self.gradient[part])) @ abs(v)] for part, v in parts])
            return claimed, own + self._inherent * abs(claimed)
        directions = [self.referee.direction(s) for s in stretches]
        program = self.subject.derivative(self.mode)
        claimed = np.array([program(x, v) for v in directions])
        own = np.array([program.noise(x, v) for v in directions]) if careful else np.zeros_like(claimed)
        return claimed, own + (4 * _EPS + self._inherent) * abs(claimed)

    @property
    def _inherent(self) -> float:
        """The relative error of what the rule and the function are made of.

        A loop that stops by comparing floats is as exact as its stopping. The series and fits of special functions
        are made for the dtype: what is below its rounding unit is no fault of a rule.
        """
        if self.subject.loops_on_values and self.subject.setting.traced:
            return UNCONVERGED
        return min(self.subject.unit or _EPS, _SINGLE) / SIGNIFICANT

    @property
    def _gradient_noise(self) -> np.ndarray:
        if not hasattr(self, "_measured"):
            self._measured = self.subject.derivative(self.mode).noise(self.referee.x, self.weights)
        return self._measured

    def verdict(self, stretches: Sequence[Stretch], careful: bool = False) -> Verdict:
        """Compare along each stretch; carefully means with every round-off measured and with finer steps."""
        claimed, own = self.claims(stretches, careful)
        steps = FINE_LADDER if careful else LADDER
        lengths = np.array([[abs(self.referee.lines[s.line, s.start : s.stop]).sum()] for s in stretches])

        noise = np.nan_to_num(self.referee.noise)
        if self.mode == "rev":
            noise = np.array([noise @ abs(self.weights)])

        def against(numerical: Derivative) -> Verdict:
            slack = self.slack[0] * lengths + self.slack[1] * np.nan_to_num(abs(numerical.value))
            return Verdict(claimed, numerical, own, slack, np.broadcast_to(noise / steps[0], claimed.shape))

        if self.mode == "rev" and len(self.weights) > _MANY_OUTPUTS:
            verdict = against(self.referee.projected(stretches, self.weights, steps))
            if not verdict.referee.kink[verdict.ratio > 1].any():  # a kink has to be told output by output
                return verdict
        return against(self._project(self.referee.derivatives(stretches, steps)))

    def _project(self, numerical: Derivative) -> Derivative:
        if self.mode == "rev":
            return numerical[:, self.finite].dot(self.weights[self.finite])[:, None]
        bar = np.where(self.finite, numerical.bar, np.inf)
        return Derivative(numerical.value, bar, numerical.low, numerical.high)

    def every_claim(self) -> np.ndarray:
        """Return the whole gradient by the rule, an element at a time if need be."""
        if self.mode == "rev":
            return self.gradient
        program, ones = self.subject.derivative(self.mode), np.eye(len(self.referee.x))
        return np.array([program(self.referee.x, one) @ self.weights for one in ones])

    def gradients(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the gradient by the rule and the right one; None where that would take long."""
        elements = [Stretch(1, i, i + 1) for i in range(len(self.referee.x))]
        if self.mode == "rev" and self.plain is not None and np.isfinite(self.plain).all():
            named = self.verdict(elements[:: max(1, len(elements) // 16)])
            at = [s.start for s in elements[:: max(1, len(elements) // 16)]]
            told = replace(named, claimed=(self.plain[at] * self.referee.lines[1, at])[:, None])
            if not (told.ratio > 1).any():
                return self.gradient, self.plain
        if len(elements) > _FEW_INPUTS:
            return None
        right = self.referee.projected(elements, self.weights, LADDER).value[:, 0]
        return self.every_claim(), right / self.referee.lines[1]

    def surrogates(self) -> tuple[str, ...]:
        """Say which rule alone accounts for a gradient that is not the function's: it may be a surrogate on purpose."""
        if self.mode != "rev" or self.plain is None:
            return ()
        undeclared = [name for name in self.subject.rules if name not in self.subject.intended]
        for name in undeclared[:_RULES]:
            program = self.subject.gradient_with(self.subject.intended | {name})
            try:
                if program and len(undeclared) == 1:  # the gradient as it is, without another program for it
                    with_rule = self.gradient
                else:
                    with_rule = program(self.referee.x, self.weights) if program else self.plain
            except Exception:  # a rule that cannot be taken as it is, as inside a while_loop
                continue
            size = np.max(abs(self.gradient), initial=0.0)
            if np.allclose(with_rule, self.gradient, rtol=1e-5, atol=1e-6 * size):
                declared, _, place = name.partition(" at ")
                what = f"the rule of {declared} ({PurePath(place).name})"
                if name == STOPPED:
                    what, declared = "a stopped gradient", "jax.lax.stop_gradient"
                return (f"{what}; if that is intended, declare it: check_grads(..., intended=[{declared}])",)
        return ()

    def suspects(self, count: int) -> list[Stretch]:
        """Return the elements of each leaf where the rule is furthest from JAX's own rules."""
        if self.plain is None:
            return []
        with np.errstate(invalid="ignore"):
            distance = abs(self.gradient - self.plain)
            size = abs(self.gradient) + abs(self.plain)
            far = np.where(np.isfinite(distance) & (distance > 1e-6 * size), distance, 0.0)
        found = []
        for leaf in self.inputs:
            part = far[leaf.start : leaf.stop]
            order = np.argsort(-part, kind="stable")[:count]
            found += [Stretch(0, leaf.start + int(i), leaf.start + int(i) + 1) for i in order if part[i] > 0]
        return found

    def agrees_with_plain(self, stretch: Stretch) -> bool:
        """Whether the rule is JAX's own derivative on a stretch, so that only conventions can differ."""
        if not self.subject.has_rules:
            return True
        if self.plain is None:
            return False
        part = slice(stretch.start, stretch.stop)
        return bool(np.allclose(self.gradient[part], self.plain[part], rtol=1e-6, atol=0.0))

    def check(self, stretches: Sequence[Stretch], point: str, order: int) -> Check:
        """Compare along all stretches and name what is wrong."""
        name = f"{'gradient' if self.mode == 'rev' else 'tangent'} ({self.mode})"
        bad = self._not_finite()
        if bad:
            return Check(name, point, order, len(stretches), np.inf, bad, note=NOT_FINITE)
        stretches = [*stretches, *self.suspects(4)]
        verdict = self.verdict(stretches)
        doubtful = (verdict.ratio > 1).any(axis=1) | verdict.uncertain.any(axis=1)
        if doubtful.any():
            rows = np.flatnonzero(doubtful)
            self.referee.measure_noise()
            verdict = verdict.replaced(rows, self.verdict([stretches[i] for i in rows], careful=True))
        ratio = verdict.ratio.max(axis=1, initial=0.0)
        wrong: list[Wrong] = []
        # Single elements first: what they explain need not be searched for.
        for i in sorted(np.flatnonzero(ratio > 1), key=lambda i: (stretches[i].size, -ratio[i])):
            if stretches[i].size == 1 or not wrong:
                wrong += [self._describe(culprit) for culprit in self._localise(stretches[i], budget=[48])]
        if not wrong and point != "given":
            wrong = self._unseen(stretches, verdict)
        worst = float(ratio.max(initial=0.0) if wrong else ratio[ratio <= 1].max(initial=0.0))
        kinks = int(verdict.referee.kink.any(axis=1).sum())
        unresolved = int(verdict.unresolved.all(axis=1).sum())
        leaves: dict[str, float] = {}
        for stretch, r in zip(stretches, ratio.tolist(), strict=True):
            leaf = find_leaf(self.inputs, stretch.start).name
            leaves[leaf] = max(r, leaves.get(leaf, 0.0))
        found = (_unique(wrong), kinks, unresolved)
        return Check(name, point, order, verdict.claimed.size, worst, *found, leaves=tuple(leaves.items()))

    def _unseen(self, stretches: Sequence[Stretch], verdict: Verdict) -> list[Wrong]:
        """Return the elements where differences see nothing and the rule is far from JAX's own.

        The sum of a huge and a tiny term in one output hides the tiny one from any difference. Away from
        kinks JAX's own rules are then the only witness; a disagreement of more than round-off and 0.1 % is
        taken as wrong.
        """
        if self.plain is None or not self.subject.plain_gradient:
            return []
        found = []
        for i, stretch in enumerate(stretches):
            at = stretch.start
            rule, plain = self.gradient[at], self.plain[at]
            apart = abs(rule - plain)
            size = abs(self.referee.lines[stretch.line, at])
            blind = SIGNIFICANT * verdict.referee.bar[i, 0] > apart * size
            if stretch.size > 1 or not blind or not np.isfinite(apart) or not apart > 1e-3 * abs(plain):
                continue
            noise = self._gradient_noise + self.subject.plain_gradient.noise(self.referee.x, self.weights)
            bar = SIGNIFICANT * noise[at] + 1e-3 * abs(plain)
            if apart > bar:
                name = find_leaf(self.inputs, at).element(at) + " (by JAX's own rules; differences see nothing)"
                found.append(Wrong(name, float(rule), float(plain), float(bar)))
        return found

    def _not_finite(self) -> tuple[Wrong, ...]:
        if self.mode == "rev":
            places = np.flatnonzero(~np.isfinite(self.gradient)) if self.finite.all() else []
            claimed = self.gradient
        else:
            claimed, _ = self.claims([Stretch(0, 0, len(self.referee.x))], careful=False)
            claimed = claimed[0]
            places = np.flatnonzero(~np.isfinite(claimed) & self.finite)
            along = self.referee.derivatives([Stretch(0, 0, len(self.referee.x))])[0]
            return tuple(
                Wrong(self._output(i), float(claimed[i]), float(along.value[i]), float(along.bar[i]))
                for i in places[:8]
            )
        found = []
        for place in places[:8]:
            along = self.referee.derivatives([Stretch(0, int(place), int(place) + 1)]).dot(self.weights)
            size = self.referee.lines[0, place]
            name = find_leaf(self.inputs, int(place)).element(int(place))
            found.append(Wrong(name, float(claimed[place]), float(along.value[0] / size), float(along.bar[0] / size)))
        return tuple(found)

    def _localise(self, stretch: Stretch, budget: list[int]) -> list[Stretch]:
        """Cut a stretch that fails until its wrong element is alone; nothing where a kink explains it."""
        if stretch.size > 1 and budget[0] > 0:
            budget[0] -= 1
            halves = stretch.halves()
            ratios = self.verdict(halves, careful=True).ratio.max(axis=1, initial=0.0)
            for at in np.argsort(-ratios):
                if ratios[at] > 1 and (found := self._localise(halves[at], budget)):
                    return found
        convention = stretch.size > 1 and self._is_convention(stretch)
        return [] if convention or self._is_a_limit(stretch) else [stretch]

    def _is_convention(self, stretch: Stretch) -> bool:
        """Whether a stretch fails only because several kinks meet in it, each by a convention."""
        verdict = self.verdict([stretch], careful=True)
        return bool(verdict.referee.kink[verdict.ratio > 1].all()) or self.agrees_with_plain(stretch)

    def _is_a_limit(self, stretch: Stretch) -> bool:
        """Whether a claim lies among the derivatives at points next to a kink, as Clarke's subgradients do.

        Among tied numbers the median follows one of them; moved alone, none of them moves it, but next to the tie
        its derivative is 1. How far the derivatives there are from the one here does not shrink with the distance at
        a kink; where it does, the function is smooth and the claim is wrong.
        """
        verdict = self.verdict([stretch], careful=True)
        wrong = verdict.ratio[0] > 1
        claimed, spread = verdict.claimed[0, wrong], None
        for distance in (2.0**-20, 2.0**-10):  # at the larger distance smooth functions spread a thousand times wider
            around = self._nearby(stretch, distance)[:, wrong]
            here = verdict.referee[:, wrong]
            known = Derivative(*(np.concatenate(both) for both in zip(here.fields, around.fields, strict=True)))
            low, high = self._hull(known, SIGNIFICANT)
            if spread is None and not ((low <= claimed) & (claimed <= high)).all():
                return False
            if spread is not None:
                return bool((spread > (high - low) / 2).all())
            low, high = self._hull(known, -SIGNIFICANT)  # what round-off may have spread is no kink
            spread = high - low
        return False

    @staticmethod
    def _hull(derivatives: Derivative, bars: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the smallest and the largest derivative among those that are known, so many bars further out."""
        with np.errstate(invalid="ignore"):
            known = np.isfinite(derivatives.bar)
            low = np.where(known, derivatives.low - bars * derivatives.bar, np.nan)
            high = np.where(known, derivatives.high + bars * derivatives.bar, np.nan)
        return np.fmin.reduce(low), np.fmax.reduce(high)

    def _nearby(self, stretch: Stretch, distance: float) -> Derivative:
        """Return the derivatives at random points at a distance, a row each, with steps that are shorter still."""
        rng = np.random.default_rng(0)
        x, lines = self.referee.x, self.referee.lines
        points = x + distance * lines[0] * rng.uniform(-1, 1, (_AROUND, len(x)))
        referees = [Referee(self.subject.function, point, lines) for point in points]
        found = derivatives_of(referees, stretch, FINE_LADDER[distance / 8 > FINE_LADDER])
        self.referee.evaluations += sum(referee.evaluations for referee in referees)
        return self._project(found)

    def _output(self, position: int) -> str:
        return find_leaf(self.outputs, position).element(position)

    def _describe(self, stretch: Stretch) -> Wrong:
        verdict = self.verdict([stretch], careful=True)
        at = int(verdict.ratio[0].argmax())
        leaf = find_leaf(self.inputs, stretch.start)
        if stretch.size == 1:
            where, size = leaf.element(stretch.start), self.referee.lines[stretch.line, stretch.start]
        else:
            where, size = f"along {leaf.element(stretch.start)} ... {leaf.element(stretch.stop - 1)}", 1.0
        if self.mode != "rev":
            where += f" -> {self._output(at)}"
        numerical = verdict.referee[0, at]
        bar = (numerical.bar + verdict.own[0, at]) / abs(size)
        return Wrong(where, float(verdict.claimed[0, at] / size), float(numerical.value / size), float(bar))


def _unique(wrong: Sequence[Wrong]) -> tuple[Wrong, ...]:
    return tuple({w.where: w for w in wrong}.values())
