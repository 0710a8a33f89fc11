"""The record of a run as a page of tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.convolution.page import table

__all__ = ["page"]


def page(record: Mapping[str, Any]) -> str:
    """The whole page, from the record alone."""
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    rates = record["images_per_second"]
    names = list(next(iter(rates.values())))
    sections = [
        "# Training LeNet-5, measured",
        f"Measured {record['date']} on {record['machine']}, with {versions}. Seed {record['seed']}. "
        "`python -m benchmarks.training --record docs/benchmarks-training.json` writes this page and, beside it, every "
        "number in it. LeNet-5 with tanh, average-pooling and softmax, Adam, float32, images in memory; medians over "
        "alternating blocks, each contender with a pause before its block. All compute the same losses from the same "
        f"weights. While the times were taken, other processes used {record['others_percent']} % of the processors.",
        "Images per second, and cnnjax's rate over that of each:",
        table(
            ["", *(f"batch {size}" for size in rates)],
            [[name, *(f"{of[name]:,.0f} ({of['cnnjax'] / of[name]:.2f})" for of in rates.values())] for name in names],
        ),
    ]
    sections += [f"- not measured: {name} ({why})" for name, why in record["missing"].items()]
    overhead = record["overhead"]
    if overhead:
        ours, theirs = overhead["trace_ms"]["cnnjax"], overhead["trace_ms"]["lax"]
        compiled = (
            f'- the training step compiles in {of["auto"]} s, with method="lax" in {of["lax"]} s: '
            f"{of['auto'] / of['lax']:.2f} (batch {size})"
            for size, of in overhead["compile_s"].items()
        )
        lines = [
            f"- `import cnnjax` takes {overhead['import_ms']} ms after `import jax`",
            f"- a call of conv2d is traced in {ours['trace']} ms, one of lax in {theirs['trace']} ms; lowered in "
            f"{ours['lower']} ms and {theirs['lower']} ms",
            *compiled,
        ]
        sections += ["Before anything runs:", "\n".join(lines)]
    return "\n\n".join(sections) + "\n"
