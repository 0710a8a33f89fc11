"""Which gradient checker can be trusted?  Plant bugs, repair them, add hard functions that are right, and
count.

Question: of the planted bugs, how many does each checker catch while accepting the repaired twin, and how
many right functions does it reject?  Expected: cnnjax catches all and rejects none.  Run time: about ten
minutes on two cores.

    python benchmarks/gradcheck/run.py [--only cnnjax jax "jax, reverse, order 2" torch "torch, fast"] [--json
    FILE]

The labels come from how the functions were made (bugs.py, hard.py), not from any checker.  torch checks the
same rules
through a bridge: a torch.autograd.Function whose backward is jax.vjp in float64.  It has no order 2 here, and
a case with more than 5000 numbers counts as not caught in slow mode, where it would run for hours.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
from bugs import bugs
from hard import hard_functions

from cnnjax.gradients import check_grads


def ours(f, args, order):
    check_grads(f, args, order)


def of_jax(f, args, order):
    jax.test_util.check_grads(f, args, order)


def of_jax_reverse(f, args, order):
    jax.test_util.check_grads(f, args, max(order, 2), modes=("rev",))


def of_torch(fast: bool) -> Callable[..., None]:
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
    "cnnjax": ours,
    "jax": of_jax,
    "jax, reverse, order 2": of_jax_reverse,
    "torch": of_torch(fast=False),
    "torch, fast": of_torch(fast=True),
}


def outcome(check: Callable[..., None], f: Any, args: Any, order: int) -> tuple[str, float]:
    """Return "accepted", "rejected" or "crashed: ..." and the seconds."""
    start = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check(f, args, order)
        verdict = "accepted"
    except AssertionError:
        verdict = "rejected"
    except Exception as error:
        # torch's verdict is a RuntimeError of its own
        verdict = "rejected" if type(error).__name__ == "GradcheckError" else f"crashed: {type(error).__name__}"
    return verdict, time.perf_counter() - start


def measure(name: str) -> dict[str, Any]:
    check = CHECKERS[name]
    rows = []
    for bug in bugs():
        bad, good = (
            outcome(check, bug.bad, bug.args, bug.order),
            outcome(check, bug.good, bug.args, bug.order),
        )
        rows.append({"name": bug.name, "bad": bad[0], "good": good[0], "seconds": [bad[1], good[1]]})
    hard = []
    for case in hard_functions():
        verdict, seconds = outcome(check, case.f, case.args, case.order)
        hard.append({"name": case.name, "verdict": verdict, "seconds": seconds})
    times = [s for row in rows for s in row["seconds"]] + [row["seconds"] for row in hard]
    verdicts = [v for row in rows for v in (row["bad"], row["good"])] + [row["verdict"] for row in hard]
    return {
        "checker": name,
        "bugs": len(rows),
        "caught": sum(row["bad"] == "rejected" for row in rows),
        "sound": sum(row["bad"] == "rejected" and row["good"] == "accepted" for row in rows),
        "twins rejected": sum(row["good"] == "rejected" for row in rows),
        "hard": len(hard),
        "hard rejected": sum(row["verdict"] == "rejected" for row in hard),
        "crashes": sum(v.startswith("crashed") for v in verdicts),
        "seconds": sum(times),
        "median": median(times),
        "missed": [row for row in rows if row["bad"] != "rejected" or row["good"] != "accepted"],
        "hard missed": [row for row in hard if row["verdict"] != "accepted"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=CHECKERS, default=list(CHECKERS))
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    results = []
    columns = ("caught", "sound", "twins rejected", "hard rejected", "crashes", "seconds", "median")
    print(f"{'':24}" + "".join(f"{column:>16}" for column in columns), flush=True)
    for name in options.only:
        result = measure(name)
        results.append(result)
        cells = [f"{result[c]:.2f}" if isinstance(result[c], float) else str(result[c]) for c in columns]
        print(f"{name:24}" + "".join(f"{cell:>16}" for cell in cells), flush=True)
    print(f"of {results[0]['bugs']} bugs, as many twins, and {results[0]['hard']} hard functions")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
