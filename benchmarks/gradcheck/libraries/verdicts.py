"""What check_grads says about every case, beside the truth.

Question: on functions of other libraries, does check_grads at default settings accept every right derivative and reject
every wrong one, without a crash, in less than a minute each? Expected: yes. Run time: about twenty minutes.

    python benchmarks/gradcheck/libraries/verdicts.py --truth FILE --json FILE [--only LIBRARY...]

--truth names what truth.py has written; --json is the same with the verdicts and the seconds. Seconds are wall time
with compilation; a check is stopped after three minutes. Cases that --json has already are left out.
"""

from __future__ import annotations

import argparse
import itertools
import json
import signal
import time
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np
from cases import CASES
from page import is_right

import cnnjax
from cnnjax.gradients import check_grads

LIMIT = 180  # seconds


class OutOfTimeError(BaseException):
    """Not an Exception, so that the checker does not mistake it for one that the function raised."""


def stop(*_: Any) -> None:
    raise OutOfTimeError


def verdict(case: Any, dtype: str) -> dict[str, Any]:
    """Check one case at default settings."""
    start = time.perf_counter()
    signal.alarm(LIMIT)
    row: dict[str, Any] = {}
    try:
        with warnings.catch_warnings(), jax.enable_x64(dtype == "float64"):
            warnings.simplefilter("ignore")
            report = check_grads(case.f, case.args)
        row["verdict"] = "accepted"
    except cnnjax.GradientError as error:
        report = error.report
        row["verdict"] = "rejected"
        row["named"] = [str(mismatch) for mismatch in report.mismatches[:3]]
        row["failed"] = sorted({f"{check.name}: {check.note}" if check.note else check.name for check in report.failed})
    except (Exception, OutOfTimeError) as error:
        report = None
        row["verdict"] = f"crashed: {type(error).__name__}: {str(error)[:200]}"
    finally:
        signal.alarm(0)
    row["seconds"] = round(time.perf_counter() - start, 2)
    if report and report.warnings:
        row["warnings"] = list(report.warnings)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--truth", metavar="FILE", required=True)
    parser.add_argument("--json", metavar="FILE", required=True)
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, stop)
    truths = {(row["library"], row["name"], row["dtype"]): row for row in json.loads(Path(options.truth).read_text())}
    rows = json.loads(Path(options.json).read_text()) if Path(options.json).exists() else []
    done = {(row["library"], row["name"], row["dtype"]) for row in rows}
    for case in itertools.chain.from_iterable(CASES[library]() for library in options.only):
        leaves = [leaf.dtype for leaf in jax.tree.leaves(case.args) if hasattr(leaf, "dtype")]
        dtype = str(np.result_type(*(d for d in leaves if np.issubdtype(d, np.floating))))
        if (case.library, case.name, dtype) in done:
            continue
        row = truths[case.library, case.name, dtype]
        row |= verdict(case, dtype)
        rows.append(row)
        print(f"{'' if is_right(row) else '<- '}{case.library} {case.name}: {row['truth']}, {row['verdict']}", end="")
        print(f", {row['seconds']} s", flush=True)
        Path(options.json).write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")


if __name__ == "__main__":
    main()
