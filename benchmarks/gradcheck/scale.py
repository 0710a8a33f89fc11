"""Can whole training steps of large networks be checked, and is one wrong element among ten million found?

Question: how long do checks with default settings take, and how much memory, for the loss of a ResNet-18, a transformer
of 10 million parameters and a U-Net, and of LeNet-5 with every element compared? Then the derivative of each network is
made wrong by 1 % at one element of one array of weights, which has to be named. Expected: less than two minutes and
4 GB each on two cores. Run time: about ten minutes.

    python benchmarks/gradcheck/scale.py [--only resnet18 transformer unet lenet5] [--json FILE]

Every check is a process of its own, so that its peak memory is that of Python, JAX, the network and the check.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from networks import NETWORKS

import cnnjax
from cnnjax.gradients import check_grads

WRONG: dict[str, tuple[tuple[Any, ...], tuple[int, ...]]] = {
    "resnet18": (("stage3.1", "w2"), (1, 2, 17, 200)),
    "transformer": (("layers", 4, "up"), (100, 900)),
    "unet": (("up", 1, "w1"), (0, 1, 100, 50)),
    "lenet5": (("c5", "w"), (3, 2, 7, 100)),
}
"""The array of weights and the element of it at which the derivative is made wrong."""


def wrong_at(index: tuple[int, ...]):
    """Return the identity with a derivative of 1.01 at one element."""
    identity = jax.custom_jvp(lambda w: w)
    identity.defjvp(lambda primals, tangents: (primals[0], tangents[0].at[index].multiply(1.01)))
    return identity


def planted(loss, path: tuple[Any, ...], index: tuple[int, ...]):
    """Return a loss whose derivative is wrong at one element of one array of its parameters."""

    def wrong(params, *batch):
        def change(here, leaf):
            keys = tuple(getattr(key, "key", getattr(key, "idx", None)) for key in here)
            return wrong_at(index)(leaf) if keys == path else leaf

        return loss(jax.tree_util.tree_map_with_path(change, params), *batch)

    return wrong


def measure(name: str, kind: str) -> dict[str, Any]:
    """Check one network, right or wrong, in this process."""
    loss, args = NETWORKS[name]()
    path, index = WRONG[name]
    if kind == "wrong":
        loss = planted(loss, path, index)
    expected = f"args[0]{''.join(f'[{key!r}]' for key in path)}[{', '.join(map(str, index))}]"
    start = time.perf_counter()
    try:
        report = check_grads(loss, args, exhaustive=name == "lenet5")
    except cnnjax.GradientError as error:
        report = error.report
    seconds = time.perf_counter() - start
    named = [mismatch.where.split(" ->")[0] for mismatch in report.mismatches]
    print(report, file=sys.stderr)
    return {
        "network": name,
        "kind": kind,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(args[0])),
        "verdict": "accepted" if report.ok else "rejected",
        "as expected": report.ok if kind == "right" else set(named) == {expected},
        "named": sorted(set(named)),
        "seconds": round(seconds, 1),
        "peak GB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2),
        "evaluations": report.evaluations,
        "left out": [what for what, why in report.skipped if "time was up" in why],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--json", metavar="FILE", help="write the results to this file")
    parser.add_argument("--one", nargs=2, metavar=("NETWORK", "KIND"), help="one check, printed as JSON")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(*options.one)))
        return
    versions = {"cnnjax": cnnjax.__version__, "jax": jax.__version__, "numpy": np.__version__}
    print(f"{platform.machine()}, {os.cpu_count()} cores, {jax.default_backend()}, {versions}, seed 0")
    print(f"{'network':14}{'kind':8}{'parameters':>12}{'seconds':>9}{'peak GB':>9}  verdict")
    rows = []
    for name in options.only:
        for kind in ("right", "wrong"):
            command = [sys.executable, __file__, "--one", name, kind]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(done.stderr)
            row = json.loads(done.stdout.splitlines()[-1])
            rows.append(row)
            verdict = " ".join([row["verdict"], *row["named"], "" if row["as expected"] else "<- not as expected"])
            print(
                f"{name:14}{kind:8}{row['parameters']:>12,}{row['seconds']:>9.1f}{row['peak GB']:>9.2f}  {verdict}",
                flush=True,
            )
    if options.json:
        text = json.dumps({"versions": versions, "cores": os.cpu_count(), "seed": 0, "rows": rows}, indent=1)
        Path(options.json).write_text(text + "\n")


if __name__ == "__main__":
    main()
