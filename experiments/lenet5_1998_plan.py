"""The runs that lenet5_1998.py plans: recipes, seeds, and the images on which each is evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lenet5_1998_recipes import Paper, Recipe, Today, record_of


@dataclass(frozen=True)
class Planned:
    """A recipe to run with seeds 0, 1, ...; `on` is "test set" or "held out", the validation split."""

    recipe: Recipe
    seeds: int = 1
    on: str = "test set"


TARGETS = {"paper": 0.95, "paper, distorted": 0.80, "today": 0.85, "today, distorted": 0.60}
"""Test errors (%) to reach; those of "paper" are the paper's own."""
HEADLINES = {
    "paper": Planned(Paper(), seeds=3),
    "paper, distorted": Planned(Paper(distorted=True, amount=0.4, window="average"), seeds=3),
    "today": Planned(Today(), seeds=3),
    "today, distorted": Planned(Today(distorted=True, passes=60), seeds=3),
}
BEFORE = Paper(rubbish=1.0, window="average")
"""The recipe before its open choices were made on the validation split."""
BATCH_64 = Today(batch=64, rate=2e-3)
OTHERS = {
    "paper, distortion strength 1, sum": Planned(Paper(distorted=True)),
    "paper, distortion strength 1, average": Planned(Paper(distorted=True, window="average"), seeds=3),
    "paper, j = 1, average": Planned(BEFORE, seeds=3),
    "paper, j = 1, average, distortion strength 1": Planned(replace(BEFORE, distorted=True)),
    "paper, MSE loss, average": Planned(replace(BEFORE, loss="MSE")),
    "today, batch size 64": Planned(BATCH_64),
    "today, batch size 64, distorted": Planned(replace(BATCH_64, distorted=True)),
}
SIZES = {f"paper, {digits:,} digits": Planned(Paper(digits=digits)) for digits in (15_000, 30_000)}
CHOICES: dict[str, dict[str, Any]] = {
    "MAP, j = 10": {},
    "MAP, j = 10, codes trained": {"codes": "trained"},
    "MAP, j = 10, average in sub-sampling": {"window": "average"},
    "MAP, j = 10, average, curvature of the MAP loss": {"window": "average", "curvature_of": "MAP"},
    "MAP, j = 1, average": {"window": "average", "rubbish": 1.0},
    "MAP, j = 10, initial weights within 2.4 / fan-in": {"start": "2.4 / fan-in", "passes": 2},
}
OPEN = {f"open: {label}": Planned(Paper(**changes), on="held out") for label, changes in CHOICES.items()} | {
    f"open: MAP, j = 10, average, distortion strength {amount:g}": Planned(
        Paper(window="average", distorted=True, amount=amount), seeds, on="held out"
    )
    for amount, seeds in ((1.0, 3), (0.6, 1), (0.4, 3))
}
SHORT = replace(BATCH_64, passes=10)
TRIED = {
    f"tried: {label}": Planned(recipe, on="held out")
    for label, recipe in {
        "batch size 64": SHORT,
        "batch size 16": Today(passes=10),
        "batch size 64, sharpness-aware": replace(SHORT, radius=0.05),
        "batch size 64, temperature 3": replace(SHORT, temperature=3.0),
        "batch size 64, temperature 30": replace(SHORT, temperature=30.0),
        "batch size 64, weight decay 0.1": replace(SHORT, decay=0.1),
        "batch size 64, distorted": replace(SHORT, distorted=True),
        "batch size 64, longer": BATCH_64,
        "batch size 64, longer, weight decay 0.1": replace(BATCH_64, decay=0.1),
        "batch size 64, longer, weight decay 0.3": replace(BATCH_64, decay=0.3),
        "batch size 16, longer": Today(),
    }.items()
}
PLANS: dict[str, dict[str, Planned]] = {
    "paper": {"paper": HEADLINES["paper"]},
    "today": {"today": HEADLINES["today"]},
    "distorted": {name: HEADLINES[name] for name in ("today, distorted", "paper, distorted")},
    "sizes": SIZES,
    "explore": OPEN,
    "tried": TRIED,
    "page": {},
    "all": {**HEADLINES, **OTHERS, **SIZES, **OPEN, **TRIED},
}


def key_of(recipe: dict[str, Any], seed: int, on: str) -> str:
    """What identifies a run."""
    return f"{sorted(recipe.items())} {seed} {on}"


def runs_of(runs: Sequence[dict[str, Any]], planned: Planned) -> list[dict[str, Any]]:
    """The finished runs of a plan entry, by seed."""
    recipe = record_of(planned.recipe)
    found = (run for run in runs if run["recipe"] == recipe and run["on"] == planned.on)
    return sorted(found, key=lambda run: run["seed"])
