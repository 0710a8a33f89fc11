"""The results page of the training benchmark, from the record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.results import provenance, table

__all__ = ["page"]


def page(record: Mapping[str, Any]) -> str:
    """The whole page, from the record."""
    rates = record["images_per_second"]
    names = list(next(iter(rates.values())))
    sections = [
        "# Training benchmark: LeNet-5",
        provenance(record, "benchmarks.training", "benchmarks-training"),
        "LeNet-5 with tanh, average pooling and softmax, trained by Adam in float32 on images in memory. All "
        "implementations start from the same weights and compute the same losses. Rates are medians over alternating "
        "blocks of steps, one implementation at a time, with a pause before each block. During the measurement, "
        f"other processes used {record['others_percent']} % of the CPU.",
        "Images per second, and in parentheses the rate of cnnjax divided by it:",
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
            f'- compiling the training step at batch {size}: {of["auto"]} s, with method="lax" {of["lax"]} s '
            f"(ratio {of['auto'] / of['lax']:.2f})"
            for size, of in overhead["compile_s"].items()
        )
        lines = [
            f"- `import cnnjax` after `import jax`: {overhead['import_ms']} ms",
            f"- tracing one convolution: {ours['trace']} ms, with `lax.conv_general_dilated` {theirs['trace']} ms; "
            f"lowering it: {ours['lower']} ms and {theirs['lower']} ms",
            *compiled,
        ]
        sections += ["Overhead before the first step:", "\n".join(lines)]
    return "\n\n".join(sections) + "\n"
