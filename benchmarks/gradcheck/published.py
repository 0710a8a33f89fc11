"""Is the gradient of the training loss of every published network right?

Question: does `check_grads` accept the cross-entropy of each network of `cnnjax.models` in training, as a function of
its parameters and images, and how long does it take? Expected: all are accepted. The images are small, the
numbers of maps are the published ones. Run time: about half an hour on two cores.

    python benchmarks/gradcheck/published.py [--only resnet18 vgg11] [--json FILE]

Every check is a process of its own, so that its peak memory is that of Python, JAX, the network and the check. With
--json, results are added to those that the file holds.
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
import jax.numpy as jnp
import numpy as np

import cnnjax
from cnnjax import models
from cnnjax.gradients import check_grads

IMAGES, CLASSES = 4, 10
SIZES = {"alexnet_2012": 67, "zfnet": 63, "alexnet": 63} | dict.fromkeys(
    (
        *("vgg11", "vgg16", "vgg19", "googlenet", "resnet18", "resnet34", "resnet50", "resnext50_32x4d"),
        *("squeezenet1_0", "squeezenet1_1", "mobilenetv1_100", "mobilenet_v2", "shufflenet_v2_x1_0"),
        *("densenet121", "efficientnet_b0", "convnext_tiny"),
    ),
    32,
)
"""The height and width of the images, by the name of the network."""


def training_loss(network: cnnjax.Network):
    """Return the cross-entropy in training, with dropout and stochastic depth drawn from one key."""

    def loss(params, images, labels):
        scores, _ = network.apply_training(params, images, jax.random.key(0))
        return -jnp.mean(jax.nn.log_softmax(scores)[jnp.arange(len(labels)), labels])

    return loss


def measure(name: str, seconds: float) -> dict[str, Any]:
    """Check one network in this process."""
    network = getattr(models, name)(classes=CLASSES, size=SIZES[name])
    random = np.random.default_rng(0)
    params = network.init(jax.random.key(0))
    images = random.normal(size=(IMAGES, *network.input.shape)).astype(np.float32)
    labels = random.integers(0, CLASSES, IMAGES)
    start = time.perf_counter()
    try:
        report = check_grads(training_loss(network), (params, images, labels), seconds=seconds)
    except cnnjax.GradientError as error:
        report = error.report
    print(report, file=sys.stderr)
    return {
        "network": name,
        "images": images.shape,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
        "verdict": "accepted" if report.ok else "rejected",
        "wrong": [
            *map(str, report.mismatches),
            *(f"{check.name}: {check.note}" for check in report.failed if check.note),
        ],
        "seconds": round(time.perf_counter() - start, 1),
        "peak GB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2),
        "evaluations": report.evaluations,
        "numbers compared": sum(check.compared for check in report.checks),
        "warnings": list(report.warnings),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=SIZES, default=list(SIZES), metavar="NETWORK")
    parser.add_argument("--seconds", type=float, default=60, help="the budget of a check (60, the default)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="add the results to this file")
    parser.add_argument("--one", choices=SIZES, metavar="NETWORK", help="one check, printed as JSON")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.seconds)))
        return
    versions = {"cnnjax": cnnjax.__version__, "jax": jax.__version__, "numpy": np.__version__}
    print(f"{platform.machine()}, {os.cpu_count()} cores, {jax.default_backend()}, {versions}, seed 0")
    print(f"{'network':20}{'images':>18}{'parameters':>13}{'seconds':>9}{'peak GB':>9}  verdict")
    for name in options.only:
        command = [sys.executable, __file__, "--one", name, "--seconds", str(options.seconds)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr)
        row = json.loads(done.stdout.splitlines()[-1])
        print(
            f"{name:20}{'x'.join(map(str, row['images'])):>18}{row['parameters']:>13,}{row['seconds']:>9.1f}"
            f"{row['peak GB']:>9.2f}  {' '.join([row['verdict'], *row['wrong']])}",
            flush=True,
        )
        if options.json:
            rows = json.loads(options.json.read_text())["rows"] if options.json.exists() else []
            found = {row["network"]: row for row in [*rows, row]}
            rows = [found[name] for name in SIZES if name in found]
            record = {"versions": versions, "cores": os.cpu_count(), "seed": 0, "rows": rows}
            options.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
