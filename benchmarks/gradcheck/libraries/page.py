"""The record of truths, verdicts and faults, and the page about it.

python benchmarks/gradcheck/libraries/page.py --verdicts FILE     # from what verdicts.py has written
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import os
import platform
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

DOCS = Path(__file__).parents[3] / "docs"
PACKAGES = {
    "optax": "optax",
    "rlax": "rlax",
    "distrax": "distrax",
    "tfp": "tfp-nightly",
    "numpyro": "numpyro",
    "flax": "flax",
    "haiku": "dm-haiku",
    "equinox": "equinox",
    "diffrax": "diffrax",
    "optimistix": "optimistix",
    "lineax": "lineax",
    "jaxopt": "jaxopt",
    "ott": "ott-jax",
    "jax.scipy": "jax",
}
"""The distribution that holds each library."""

INTRODUCTION = """\
# Gradients of other libraries

Generated from its [record](../records/gradients_libraries.json) by

```console
$ pip install -r benchmarks/gradcheck/libraries/requirements.txt
$ python benchmarks/gradcheck/libraries/truth.py --json TRUTH
$ python benchmarks/gradcheck/libraries/verdicts.py --truth TRUTH --json VERDICTS
$ python benchmarks/gradcheck/libraries/page.py --verdicts VERDICTS
```

`check_grads` at default settings on functions of other libraries, which were chosen before it had seen them: losses,
densities, layers, solvers, matrix functions, in float32 and float64. What their derivatives are was found without it:
by mpmath with 40 digits where the function has a formula, elsewhere by differences of the function extrapolated after
Ridders. A verdict is right if a right derivative is accepted, and a wrong or missing one rejected.

In the first run one wrong derivative was accepted (rlax's `signed_hyperbolic` at 0, where a factor of 0 hid the
round-off next to it) and two right ones were rejected (distrax's `VonMises.cdf`, for what its rule does at negative
concentrations, and lineax's `BiCGStab`, which raises for a right-hand side of 0). `check_grads` was changed for all
three kinds. Then all were checked, and one more right derivative was rejected: that of optimistix's `GradientDescent`,
which stops further from its limit than its results jump. Such functions are compared with their limit now, and
everything was checked once more.

Three solvers (optimistix's `GaussNewton`, OTT's soft ranks and Sinkhorn divergence) stop so early that their own
differences are not the derivative of what they approximate; their truth is that of the same solver with a tolerance of
1e-12. The truth about jaxopt's quadratic program is that along symmetric matrices. At the point chosen for jaxopt's
`projection_transport` the derivative is 0, as JAX says, to round-off; it is rejected for the points nearby, where JAX
says so too and it is not.
"""


def is_right(row: dict[str, Any]) -> bool:
    """Return whether the verdict is what the truth asks for."""
    return row["verdict"] == ("accepted" if row["truth"] == "right" else "rejected")


def table(rows: list[dict[str, Any]], versions: dict[str, str]) -> str:
    """Return the table by library."""
    lines = [
        "| library | functions | derivative right | wrong | none | right verdicts | median s | max s |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for library in [*dict.fromkeys(row["library"] for row in rows), None]:
        mine = [row for row in rows if library in (None, row["library"])]
        truths = [row["truth"] for row in mine]
        seconds = [row["seconds"] for row in mine]
        name = f"{library} {versions[PACKAGES[library]]}" if library else "all"
        counts = [truths.count(truth) for truth in ("right", "wrong", "no derivative")]
        cells = [len(mine), *counts, sum(map(is_right, mine)), f"{median(seconds):.1f}", f"{max(seconds):.1f}"]
        lines.append(f"| {name} | " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def wrong_derivatives(rows: list[dict[str, Any]]) -> str:
    """Return the table of functions whose derivative is wrong or missing, and of wrong verdicts."""
    lines = ["| library | function | what is wrong | verdict |", "|---|---|---|---|"]
    for row in rows:
        if row["truth"] != "right" or not is_right(row):
            what = row["wrong"][0] if "wrong" in row else row["truth"]
            lines.append(f"| {row['library']} | {row['name']} | {what} | {row['verdict']} |")
    return "\n".join(lines)


def fault(entry: dict[str, Any]) -> str:
    """Return the section about one fault."""
    return (
        f"### {entry['title']}\n\n{entry['package']} {entry['version']}: JAX computes {entry['found']:.6g}, "
        f"right is {entry['truth']:.6g} ({entry['how']}).\n\n```python\n{entry['program'].strip()}\n```\n"
    )


def page(record: dict[str, Any]) -> str:
    """Return the page about a record."""
    rows, versions = record["rows"], record["versions"]
    kinds = [row.get("how") for row in rows]
    how = f"{kinds.count('mpmath')} derivatives were found by mpmath and {kinds.count('differences')} by differences."
    machine = f"{record['machine']}, {record['cores']} cores; " + ", ".join(f"{k} {v}" for k, v in versions.items())
    chosen = sum(record["chosen"].values())
    checked = f"{len(rows)} of the {chosen} chosen functions have been checked so far.\n" if len(rows) < chosen else ""
    return "\n".join(
        [
            INTRODUCTION,
            *filter(None, [checked]),
            table(rows, versions),
            f"\n{how} Seconds are wall time, compilation included, on a machine that was also doing other work.\n",
            "## Wrong and missing derivatives\n",
            wrong_derivatives(rows),
            "\nA spectral normalisation stops the gradient of its power iteration on purpose. optax's "
            "`sigmoid_focal_loss` inherits, at labels of 0 and 1, what `logsumexp` does with a weight of 0.",
            "\n## Faults to report\n",
            "Each program leaves the derivative that JAX computes in `found` and the right one in `truth`.\n",
            *map(fault, record["faults"]),
            machine + ".\n",
        ]
    )


def evaluated_faults() -> list[dict[str, Any]]:
    """Run the programs of the faults in float64."""
    import jax
    from faults import FAULTS

    found = []
    for one in FAULTS:
        names: dict[str, Any] = {}
        with jax.enable_x64(True):
            exec(one.program, names)
        found.append(
            {
                "title": one.title,
                "package": one.package,
                "version": metadata.version(one.package),
                "program": one.program,
                "found": float(names["found"]),
                "truth": float(names["truth"]),
                "how": one.truth,
            }
        )
    return found


def count_of(cases: Callable[[], Any]) -> int:
    """Return how many cases a generator yields, one for each yield in its source: building them takes a minute."""
    return sum(isinstance(node, ast.Yield) for node in ast.walk(ast.parse(inspect.getsource(cases))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--verdicts", metavar="FILE", nargs="+", required=True)
    options = parser.parse_args()
    from cases import CASES

    packages = [*dict.fromkeys(PACKAGES.values()), "jaxlib", "numpy", "mpmath"]
    record = {
        "versions": {"cnnjax": metadata.version("cnnjax"), **{name: metadata.version(name) for name in packages}},
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "chosen": {library: count_of(cases) for library, cases in CASES.items()},
        "rows": [row for path in options.verdicts for row in json.loads(Path(path).read_text())],
        "faults": evaluated_faults(),
    }
    text = json.dumps({**record, "rows": [], "faults": []}, indent=1).replace(
        '"rows": [],\n "faults": []',
        ",\n ".join(
            f'"{key}": [\n  ' + ",\n  ".join(map(json.dumps, record[key])) + "\n ]" for key in ("rows", "faults")
        ),
    )
    (DOCS / "records" / "gradients_libraries.json").write_text(text + "\n")
    (DOCS / "results" / "gradients_libraries.md").write_text(page(record))


if __name__ == "__main__":
    main()
