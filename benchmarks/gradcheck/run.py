"""Which gradient checker can be trusted? Plant bugs, repair them, add correct functions that are hard, and count.

Question: of the planted bugs, how many does each checker catch while accepting the repaired twin, and how many correct
functions does it reject? Expected: cnnjax catches all and rejects none. Run time: about half an hour on one core.

    python benchmarks/gradcheck/run.py [--only cnnjax torch] [--cases START:STOP:STEP] [--json PART]
    python benchmarks/gradcheck/run.py --add PART... [--json ALL]     # the table of several parts

The labels follow from how the functions were made (bugs.py, hard.py, field_bugs.py, field_hard.py), not from any
checker. The checkers take turns case by case, so that other load on the machine affects all alike; seconds and medians
are CPU time, compilation included. torch checks the same rules through a bridge: a torch.autograd.Function whose
backward is jax.vjp in float64. It has no order 2 here, and a case with more than 5000 numbers counts as a crash in slow
mode, where it would run for hours. A checker that takes more than two minutes of CPU time for a case is stopped, and
that counts as a crash.
"""

from __future__ import annotations

import argparse
import json
import signal
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
from bugs import bugs
from field_bugs import field_bugs
from field_hard import field_hard_functions
from hard import hard_functions

from cnnjax.gradients import check_grads

LIMIT = 120  # seconds of CPU time


class OutOfTimeError(BaseException):
    """Not an Exception, so that no checker mistakes it for one that the function raised."""


def by_cnnjax(f, args, order):
    check_grads(f, args, order)


def by_jax(f, args, order):
    jax.test_util.check_grads(f, args, order)


def by_jax_reverse(f, args, order):
    jax.test_util.check_grads(f, args, max(order, 2), modes=("rev",))


def by_torch(fast: bool) -> Callable[..., None]:
    def check(f, args, order):
        import torch

        leaves, tree = jax.tree.flatten(args)
        moving = [i for i, leaf in enumerate(leaves) if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)]
        if not fast and sum(np.size(leaves[i]) for i in moving) > 5000:
            raise TimeoutError("too large for slow mode")

        def flat(*arrays):
            filled = list(leaves)
            for i, array in zip(moving, arrays, strict=True):
                filled[i] = array
            out = jax.tree.leaves(f(*jax.tree.unflatten(tree, filled)))
            return tuple(o for o in out if jnp.issubdtype(jnp.result_type(o), jnp.inexact))

        def to_torch(a):
            return torch.from_numpy(np.array(a, dtype=np.complex128 if np.iscomplexobj(a) else np.float64))

        class Bridge(torch.autograd.Function):
            @staticmethod
            def forward(ctx, *tensors):
                with jax.enable_x64(True):
                    out, ctx.pull = jax.vjp(flat, *(jnp.asarray(t.detach().numpy()) for t in tensors))
                return tuple(to_torch(o) for o in out)

            @staticmethod
            def backward(ctx, *grads):
                with jax.enable_x64(True):  # torch's gradient is the conjugate of JAX's
                    found = ctx.pull(tuple(jnp.conj(jnp.asarray(g.detach().numpy())) for g in grads))
                    return tuple(to_torch(jnp.conj(g)) for g in found)

        inputs = [to_torch(leaves[i]).requires_grad_() for i in moving]
        torch.autograd.gradcheck(Bridge.apply, inputs, fast_mode=fast)

    return check


CHECKERS: dict[str, Callable[..., None]] = {
    "cnnjax": by_cnnjax,
    "jax": by_jax,
    "jax, reverse, order 2": by_jax_reverse,
    "torch": by_torch(fast=False),
    "torch, fast": by_torch(fast=True),
}


def cases() -> list[tuple[str, str, Any]]:
    """Return the name of every case, its kind ("bug", "twin" or "hard"), and (function, arguments, order)."""
    found = []
    for bug in (*bugs(), *field_bugs()):
        for kind, f in (("bug", bug.bad), ("twin", bug.good)):
            found.append((bug.name, kind, (f, bug.args, bug.order)))
    found += [(h.name, "hard", (h.f, h.args, h.order)) for h in (*hard_functions(), *field_hard_functions())]
    return found


def outcome(check: Callable[..., None], f: Any, args: Any, order: int) -> tuple[str, float]:
    """Return "accepted", "rejected" or "crashed: ...", and the CPU time in seconds."""
    start = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, LIMIT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check(f, args, order)
        verdict = "accepted"
    except AssertionError:
        verdict = "rejected"
    except (Exception, OutOfTimeError) as error:
        # torch's verdict is a RuntimeError of its own
        verdict = "rejected" if type(error).__name__ == "GradcheckError" else f"crashed: {type(error).__name__}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return verdict, time.process_time() - start


def stop(*_: Any) -> None:
    raise OutOfTimeError


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Count the verdicts of one checker."""
    verdicts = {(row["name"], row["kind"]): row["verdict"] for row in rows}
    caught = {name for (name, kind), v in verdicts.items() if kind == "bug" and v == "rejected"}
    times = [row["seconds"] for row in rows]
    return {
        "caught": len(caught),
        "sound": sum(verdicts.get((name, "twin")) == "accepted" for name in caught),
        "twins rejected": sum(v == "rejected" for (_, kind), v in verdicts.items() if kind == "twin"),
        "hard rejected": sum(v == "rejected" for (_, kind), v in verdicts.items() if kind == "hard"),
        "crashes": sum(v.startswith("crashed") for v in verdicts.values()),
        "seconds": sum(times),
        "median": median(times),
    }


def table(rows: list[dict[str, Any]]) -> None:
    """Print a row for every checker, and the number of functions."""
    columns = ("caught", "sound", "twins rejected", "hard rejected", "crashes", "seconds", "median")
    print(f"{'':24}" + "".join(f"{column:>16}" for column in columns))
    for name in dict.fromkeys(row["checker"] for row in rows):
        result = summary([row for row in rows if row["checker"] == name])
        cells = [f"{result[c]:.2f}" if isinstance(result[c], float) else str(result[c]) for c in columns]
        print(f"{name:24}" + "".join(f"{cell:>16}" for cell in cells))
    kinds = [kind for _, kind in dict.fromkeys((row["name"], row["kind"]) for row in rows)]
    print(f"of {kinds.count('bug')} bugs, {kinds.count('twin')} twins, and {kinds.count('hard')} hard functions")


def write(path: str, rows: list[dict[str, Any]]) -> None:
    Path(path).write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=CHECKERS, default=list(CHECKERS))
    parser.add_argument("--cases", default="::", metavar="START:STOP:STEP", help="a part of the cases")
    parser.add_argument("--json", metavar="PART", help="write the verdicts to this file")
    parser.add_argument(
        "--add", nargs="+", metavar="PART", help="print the table of these files, without running anything"
    )
    options = parser.parse_args()
    if options.add:
        rows = [row for part in options.add for row in json.loads(Path(part).read_text())]
        if options.json:
            write(options.json, rows)
        table(rows)
        return
    signal.signal(signal.SIGPROF, stop)
    rows = []
    chosen = slice(*(int(part) if part else None for part in options.cases.split(":")))
    for name, kind, case in cases()[chosen]:
        for checker in options.only:
            verdict, seconds = outcome(CHECKERS[checker], *case)
            rows.append(
                {"name": name, "kind": kind, "checker": checker, "verdict": verdict, "seconds": round(seconds, 3)}
            )
            if checker == "cnnjax" and verdict != ("rejected" if kind == "bug" else "accepted"):
                print(f"{kind} {verdict}: {name}", flush=True)
        if options.json:
            write(options.json, rows)
    table(rows)


if __name__ == "__main__":
    main()
