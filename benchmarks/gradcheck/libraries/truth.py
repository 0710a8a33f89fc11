"""The derivative of every case, found without check_grads.

Question: is the gradient that JAX computes for each case the derivative of the function? Where the function has a
formula, its derivative is taken by mpmath with 40 digits; elsewhere by differences of the function in float64, with
steps halved twelve times and extrapolated after Ridders. At a kink any number between the one-sided derivatives is
right.

    python benchmarks/gradcheck/libraries/truth.py --json FILE [--only LIBRARY...]

The gradient is that of <y, f(x)> with a random cotangent y, in reverse and in forward mode, element by element (of
large arrays a sample). Cases that --json has already are left out. Expected: most are right. Run time: about ten
minutes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
from case import Case
from cases import CASES

SAMPLE = 60  # elements of a function that are compared
STEPS = 12
RELATIVE = 1e-5  # of the largest derivative: what an approximation of the function within its own series may leave
mp.mp.dps = 40


def is_moved(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)


def own_dtype(case: Case) -> Any:
    return np.result_type(*(leaf.dtype for leaf in jax.tree.leaves(case.args) if is_moved(leaf)))


class Flat:
    """A case as the function x -> <y, f(x)> of one vector."""

    def __init__(self, case: Case, dtype: Any):
        self.case, self.dtype = case, dtype
        self.leaves, self.tree = jax.tree.flatten(case.args)
        self.moved = [i for i, leaf in enumerate(self.leaves) if is_moved(leaf)]
        self.shapes = [np.shape(self.leaves[i]) for i in self.moved]
        self.x = np.concatenate([np.ravel(self.leaves[i]) for i in self.moved]).astype(np.float64)
        self.y = np.random.default_rng(0).normal(size=self.values(jnp.asarray(self.x, dtype)).size)

    def values(self, x: Any) -> Any:
        leaves, start = list(self.leaves), 0
        for i, shape in zip(self.moved, self.shapes, strict=True):
            size = int(np.prod(shape))
            leaves[i] = x[start : start + size].reshape(shape)
            start += size
        f = self.case.in_float64 if self.case.in_float64 and self.dtype == np.float64 else self.case.f
        out = jax.tree.leaves(f(*jax.tree.unflatten(self.tree, leaves)))
        return jnp.concatenate([jnp.ravel(o) for o in out if jnp.issubdtype(jnp.result_type(o), jnp.floating)])

    def __call__(self, x: Any) -> Any:
        return jnp.vdot(jnp.asarray(self.y, self.dtype), self.values(x))

    def element(self, index: int) -> str:
        """Return the name of an element of x."""
        paths = [path for path, leaf in jax.tree_util.tree_leaves_with_path(self.case.args) if is_moved(leaf)]
        for path, shape in zip(paths, self.shapes, strict=True):
            if index < np.prod(shape):
                at = [int(i) for i in np.unravel_index(index, shape)]
                return "args" + jax.tree_util.keystr(path) + (str(at) if at else "")
            index -= int(np.prod(shape))
        raise IndexError


def symmetrized(flat: Flat, gradient: np.ndarray) -> np.ndarray:
    """Return a gradient with the part for each square matrix made symmetric."""
    parts = np.split(gradient, np.cumsum([int(np.prod(shape)) for shape in flat.shapes])[:-1])
    for i, shape in enumerate(flat.shapes):
        if len(shape) == 2 and shape[0] == shape[1]:
            matrix = parts[i].reshape(shape)
            parts[i] = ((matrix + matrix.T) / 2).ravel()
    return np.concatenate(parts)


def compiled(flat: Flat) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return jax.jit, or the identity where the function cannot be traced."""
    try:
        jax.jit(flat)(jnp.asarray(flat.x, flat.dtype))
    except Exception:
        return lambda f: f
    return jax.jit


def gradients(flat: Flat) -> tuple[dict[str, np.ndarray], str]:
    """Return the gradient in each mode that exists, and why another one does not."""
    found, why = {}, ""
    for mode, transform in (("rev", jax.grad), ("fwd", jax.jacfwd)):
        try:
            gradient = compiled(flat)(transform(flat))(jnp.asarray(flat.x, flat.dtype))
            found[mode] = np.asarray(gradient, np.float64)
        except (TypeError, ValueError, NotImplementedError) as error:
            why = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return found, why


def evaluator(flat: Flat) -> Callable[[np.ndarray], np.ndarray]:
    """Return g of the rows of a matrix; a row at which the function raises is NaN."""
    many = jax.jit(lambda points: jax.lax.map(flat, points))

    def evaluate(points: np.ndarray) -> np.ndarray:
        try:
            return np.asarray(many(points))
        except Exception:
            one, values = compiled(flat)(flat), []
            for point in points:
                try:
                    values.append(float(one(point)))
                except Exception:  # outside its domain
                    values.append(np.nan)
            return np.array(values)

    return evaluate


def extrapolated(quotients: np.ndarray, power: int) -> tuple[float, float]:
    """Return the limit of difference quotients at steps that are halved, and its estimated error (Ridders 1982)."""
    best, error, row = np.nan, np.inf, []
    for quotient in quotients:
        above, row = row, [quotient]
        for j, old in enumerate(above):
            factor = 2.0 ** (power * (j + 1)) - 1
            row.append(row[-1] + (row[-1] - old) / factor)
            change = max(abs(row[-1] - row[-2]), abs(row[-1] - old))
            if change < error:
                best, error = row[-1], change
    return best, error


def differences(flat: Flat, index: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the bounds of the derivative for each element (equal but at a kink) and the estimated error."""
    evaluate, x = evaluator(flat), flat.x
    steps = np.array([0.1 * max(abs(x[i]), 0.1) for i in index])[:, None] * 0.5 ** np.arange(STEPS)
    points = np.tile(x, (len(index), STEPS, 2, 1))
    for row, i in enumerate(index):
        points[row, :, 0, i] += steps[row]
        points[row, :, 1, i] -= steps[row]
    values = evaluate(points.reshape(-1, len(x))).reshape(len(index), STEPS, 2)
    here = float(evaluate(x[None])[0])
    lower, upper, errors = [], [], []
    for row, h in zip(values, steps, strict=True):
        central, error = extrapolated((row[:, 0] - row[:, 1]) / (2 * h), 2)
        (right, right_error), (left, left_error) = (
            extrapolated((row[:, 0] - here) / h, 1),
            extrapolated((here - row[:, 1]) / h, 1),
        )
        kink = abs(right - left) > 10 * (right_error + left_error) + 1e-6 * max(abs(right), abs(left))
        if np.isnan(central) or kink:
            sides = [side for side in (right, left) if not np.isnan(side)] or [np.nan]
            lower.append(min(sides))
            upper.append(max(sides))
            errors.append(np.nanmax([right_error, left_error]) if kink else min(right_error, left_error))
        else:
            lower.append(central)
            upper.append(central)
            errors.append(error)
    return np.array(lower), np.array(upper), np.array(errors)


def by_formula(flat: Flat, case: Case, index: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the derivative for each element by mpmath, and how far the function's values are from the formula's."""
    shape = np.broadcast_shapes(*flat.shapes)
    where = np.split(np.arange(len(flat.x)), np.cumsum([int(np.prod(s)) for s in flat.shapes])[:-1])
    where = [np.broadcast_to(w.reshape(s), shape).ravel() for w, s in zip(where, flat.shapes, strict=True)]
    gradient, values = [mp.mpf(0)] * len(flat.x), []
    for k, weight in enumerate(flat.y):
        point = [mp.mpf(float(flat.x[w[k]])) for w in where]
        values.append(float(case.formula(*point)))
        for argument, w in enumerate(where):
            order = tuple(int(j == argument) for j in range(len(where)))
            gradient[w[k]] += mp.mpf(float(weight)) * mp.diff(case.formula, tuple(point), order)
    found = np.asarray(flat.values(jnp.asarray(flat.x)), np.float64)
    deviation = np.abs(found - values) / np.maximum(np.abs(values), 1e-3)
    return np.array([float(gradient[i]) for i in index]), deviation


def truth(case: Case) -> dict[str, Any]:
    """Say whether the derivative of one case is right."""
    own = own_dtype(case)
    row: dict[str, Any] = {"library": case.library, "name": case.name, "dtype": str(own)}
    with jax.enable_x64(True):
        flat = Flat(case, np.float64)
        found, why = gradients(flat)
        if not found:
            return row | {"truth": "no derivative", "why": why}
        n = len(flat.x)
        chosen = np.arange(n) if n <= SAMPLE else np.sort(np.random.default_rng(1).choice(n, SAMPLE, replace=False))
        index = [int(i) for i in chosen]
        if case.formula:
            row["how"] = "mpmath"
            lower, deviation = by_formula(flat, case, index)
            upper, errors = lower, np.zeros(len(index))
            row["value"] = float(f"{deviation.max():.1e}")
        else:
            row["how"] = "differences"
            lower, upper, errors = differences(flat, index)
        if case.symmetric:
            lower, upper = symmetrized(flat, lower), symmetrized(flat, upper)
            found = {mode: symmetrized(flat, gradient) for mode, gradient in found.items()}
    scale = float(np.nanmax(np.abs(np.concatenate([lower, upper])))) or 1.0
    row |= {
        "modes": list(found),
        "elements": len(index),
        "kinks": int(np.sum(upper > lower)),
        "error": float(f"{np.max(errors) / scale:.1e}"),
    }
    if case.approximate:
        row["approximate"] = case.approximate
    wrong, worst = [], 0.0
    for mode, gradient in found.items():
        here = gradient[index]
        outside = np.maximum(np.maximum(lower - here, here - upper), 0.0)
        outside = np.where(np.isfinite(here), outside, np.inf)
        worst = max(worst, float(np.max(outside)) / scale)
        wrong += [
            f"{mode} {flat.element(index[j])}: {here[j]:.9g}, truth {lower[j]:.9g} to {upper[j]:.9g}"
            for j in np.flatnonzero(~(outside <= 10 * errors + RELATIVE * scale))
        ]
    row["deviation"] = float(f"{worst:.1e}")
    with jax.enable_x64(own == np.float64):
        jax.clear_caches()  # some libraries keep constants of the other precision
        single = Flat(case, own)
        for mode, gradient in gradients(single)[0].items():
            bad = ~np.isfinite(gradient)
            wrong += [f"{mode} {single.element(int(i))}: {gradient[i]} in {own}" for i in np.flatnonzero(bad)]
    return row | {"truth": "wrong" if wrong else "right"} | ({"wrong": wrong} if wrong else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--json", metavar="FILE", required=True)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = json.loads(Path(options.json).read_text()) if Path(options.json).exists() else []
    done = {(row["library"], row["name"], row["dtype"]) for row in rows}
    for case in itertools.chain.from_iterable(CASES[library]() for library in options.only):
        if (case.library, case.name, str(own_dtype(case))) in done:
            continue
        rows.append(truth(case))
        print(json.dumps(rows[-1]), flush=True)
        Path(options.json).write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")
    print({name: metadata.version(name) for name in ("jax", "mpmath", "numpy")})


if __name__ == "__main__":
    main()
