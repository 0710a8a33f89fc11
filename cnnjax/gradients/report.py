"""The result of a gradient verification: immutable values that print as one screen of text and convert to JSON."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from cnnjax.errors import ArgumentValueError, MissingExtraError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Check", "GradientReport", "Mismatch", "TaylorTest"]

NOT_FINITE = "not finite where the function is"
"""The note on a check that found an infinity or a NaN."""

_LONG = 160  # characters of what is listed on the screen; JSON has all

NO_MODE = "some mode exists"
"""The check that fails where a function has no derivative."""

NOTHING_VERIFIED = "something is verified"
"""The check that fails where there is nothing to verify."""


@dataclass(frozen=True)
class Mismatch:
    """One computed derivative that disagrees with its reference value."""

    where: str
    """The element, as ``args[1]['c3']['w'][2, 0, 3, 7]``, or the segment of an array."""
    computed: float
    """What the rule under test gave."""
    reference: float
    """What it should be: the finite difference, or the other side of an identity."""
    error_bar: float
    """The error bar of the comparison."""

    def __str__(self) -> str:
        """Return one line: the element, both numbers and the error bar."""
        known = math.isfinite(self.reference) and math.isfinite(self.error_bar)
        reference = f"{self.reference:.9g} ± {self.error_bar:.1g}" if known else "unknown"
        return f"{self.where}: computed {self.computed:.9g}, reference {reference}"


@dataclass(frozen=True)
class Check:
    """One comparison with finite differences, or one property of the derivative, at one point and order."""

    name: str
    """What was compared, and in which mode: "gradient (rev)", "linearity (fwd)"."""
    point: str
    """"given", "nearby" or "sign-flipped"."""
    order: int
    """Of the derivative."""
    compared: int
    """How many numbers were compared."""
    worst: float
    """The largest |computed - reference| / (8 error bars): above 1 the check fails."""
    mismatches: tuple[Mismatch, ...] = ()
    kinks: int = 0
    """How many derivatives were compared with the interval between their one-sided values, at a kink."""
    unresolved: int = 0
    """How many finite differences were too uncertain to decide anything."""
    note: str = ""
    """Why it failed, where that is not a mismatch of numbers."""
    leaves: tuple[tuple[str, float], ...] = ()
    """For a comparison with finite differences: the largest ratio in each array, by its name."""
    left_out: tuple[str, ...] = ()
    """The arrays that were not compared by themselves (or whose elements were not), because the time was up."""

    @property
    def ok(self) -> bool:
        """Whether the check passed."""
        return not self.mismatches and not self.worst > 1


@dataclass(frozen=True)
class TaylorTest:
    """How a function behaves along one direction v through all arguments, compared with its computed derivative."""

    steps: tuple[float, ...]
    errors: tuple[float, ...]
    """|central difference - computed derivative| at each step t: truncation error ~ t^2 plus round-off ~ 1/t."""
    rate: float | None
    """The power of t in |f(x + t v) - f(x) - t f'|: 2 where the derivative is right, 1 where it is wrong.
    None where nothing but round-off remains, as for a linear f."""
    second_rate: float | None
    """The same with t^2/2 f'' subtracted too: 3 where the second derivative is right. None where it was not
    asked for or nothing remains."""


@dataclass(frozen=True)
class GradientReport:
    """Everything that ``check_grads`` checked; the same object for success and failure.

    ``print(report)`` shows one screen, ``report.to_json()`` everything.
    """

    function: str
    """Its name."""
    checks: tuple[Check, ...]
    skipped: tuple[tuple[str, str], ...]
    """What was not checked and why."""
    precision: str
    """In which precision, and how, the function was run."""
    evaluations: int
    """How often the function was evaluated for finite differences."""
    seed: int
    """Of the random directions and points."""
    diagnosis: tuple[str, ...] = ()
    """What the wrong gradient looks like."""
    taylor: TaylorTest | None = None
    """How the error of a finite difference depends on the step, and at what rates Taylor's remainders shrink."""
    intended: tuple[str, ...] = ()
    """The rules that were taken as given, because they were declared or belong to a rejection sampler."""
    warnings: tuple[str, ...] = ()
    """What may be wrong, or may be the fault of the check."""
    seconds: float = field(default=0.0, compare=False)
    """How long it took."""

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(check.ok for check in self.checks)

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that did not pass."""
        return tuple(check for check in self.checks if not check.ok)

    @property
    def mismatches(self) -> tuple[Mismatch, ...]:
        """Every wrong derivative that was named, each once."""
        return tuple({found.where: found for check in self.checks for found in check.mismatches}.values())

    @property
    def leaves(self) -> dict[str, float]:
        """For each array among the arguments, as ``args[0]['c3']['w']``, the largest ratio found at order 1."""
        found: dict[str, float] = {}
        for check in self.checks:
            for name, ratio in check.leaves if check.order == 1 else ():
                found[name] = max(ratio, found.get(name, 0.0))
        return found

    @property
    def kinks(self) -> int:
        """How many derivatives were compared at a kink."""
        return sum(check.kinks for check in self.checks)

    @property
    def worst(self) -> float:
        """The largest |computed - reference| over what its error bar allows."""
        return max((check.worst for check in self.checks), default=0.0)

    def to_json(self) -> str:
        """Return the whole report as JSON; numbers that are not finite become strings."""
        data: dict[str, Any] = {"ok": self.ok, "worst": self.worst, "kinks": self.kinks, **asdict(self)}
        for entry, check in zip(data["checks"], self.checks, strict=True):
            entry["ok"] = check.ok
        return json.dumps(_jsonable(data), indent=1)

    def figure(self) -> Figure:
        """Plot the error of a central difference against its step: a V between round-off and truncation error.

        Returns:
            A matplotlib figure.

        Raises:
            ArgumentValueError: there is no such curve, because nothing was differentiated.
            MissingExtraError: matplotlib is not installed.
        """
        if self.taylor is None:
            raise ArgumentValueError("GradientReport.figure: nothing was differentiated, so there is no curve to draw")
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise MissingExtraError(
                "GradientReport.figure needs matplotlib: pip install cnnjax[experiments]"
            ) from error
        steps, errors = self.taylor.steps, self.taylor.errors
        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.subplots()
        axes.loglog(steps, errors, "o-", label="|difference - derivative|")
        anchor = next((i for i, error in enumerate(errors) if error > 0), None)
        if anchor is not None:
            guide = [errors[anchor] * (t / steps[anchor]) ** 2 for t in steps]
            floor = min(error for error in errors if error > 0)
            shown = [(t, g) for t, g in zip(steps, guide, strict=True) if g > floor / 10]
            axes.loglog(*zip(*shown, strict=True), "--", color="grey", label="slope 2: truncation")
        axes.set_xlabel("step, relative to the arguments")
        axes.set_ylabel("error of the central difference")
        axes.set_title(f"{self.function}: computed derivative against central differences")
        axes.legend()
        return figure

    def __str__(self) -> str:
        """Return one screen: the verdict, what failed and how, and what was checked."""
        lines = [self._verdict(), *self._failures(), *self._table()]
        if self.taylor and self.taylor.rate is not None:
            second = self.taylor.second_rate
            more = "" if second is None else f", and as t^{second:.2f} with the Hessian term subtracted (3 is right)"
            lines.append(f"  Taylor's remainder shrinks as t^{self.taylor.rate:.2f} (2 is right){more}")
        unresolved = sum(check.unresolved for check in self.checks)
        if unresolved:
            lines.append(f"  {unresolved} differences were too uncertain to judge by (see docs/guides/gradients.md)")
        if self.intended:
            lines.append(f"  taken as given: {', '.join(self.intended)}")
        lines += [f"  warning: {text}" for text in self.warnings]
        lines += [f"  not checked: {_shortened(what)}: {why}" for what, why in self.skipped[:6]]
        if len(self.skipped) > 6:
            lines.append(f"  and {len(self.skipped) - 6} more not checked")
        lines.append(f"  {self.evaluations} evaluations in {self.precision}; {self.seconds:.1f} s; seed {self.seed}")
        return "\n".join(lines)

    def _verdict(self) -> str:
        if self.ok:
            return f"The gradient of {self.function} agrees with finite differences."
        first = self.failed[0]
        if first.name == NO_MODE:
            return f"{self.function} has no derivative of order {first.order}."
        wrong = "was not verified" if first.name == NOTHING_VERIFIED else "DISAGREES"
        return f"The gradient of {self.function} {wrong}."

    def _failures(self) -> list[str]:
        """Return the lines about what failed, and what that looks like."""
        lines: list[str] = []
        for check in self.failed[:4]:
            lines.append(f"  FAILED {check.name} at {check.point}, order {check.order}. {check.note}".rstrip())
            lines += [f"    {mismatch}" for mismatch in check.mismatches[:4]]
            if len(check.mismatches) > 4:
                lines.append(f"    and {len(check.mismatches) - 4} more")
        if len(self.failed) > 4:
            lines.append(f"  and {len(self.failed) - 4} more checks failed")
        return lines + [f"  It looks like: {text}" for text in self.diagnosis]

    def _table(self) -> list[str]:
        """Return the lines about what was checked, a row for the same check at the same point and order."""
        lines = [f"  {'check':<36}{'point':<14}{'order':>5}{'numbers':>9}{'kinks':>7}{'worst':>10}"]
        rows: dict[tuple[str, str, int], list[Check]] = {}
        for check in self.checks:
            rows.setdefault((check.name, check.point, check.order), []).append(check)
        for (name, point, order), group in rows.items():
            worst = max(check.worst for check in group)
            mark = "" if all(check.ok for check in group) else "  <- failed"
            compared, kinks = sum(c.compared for c in group), sum(c.kinks for c in group)
            lines.append(f"  {name:<36}{point:<14}{order:>5}{compared:>9}{kinks:>7}{worst:>10.2g}{mark}")
        return lines


def _shortened(text: str) -> str:
    return text if len(text) <= _LONG else text[: text.rindex(",", 0, _LONG)] + ", ..."


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
