"""Verify the gradient of a function from the command line.

    python -m cnnjax.check mymodule:loss --args "normal(3, 4)" "{'w': normal(4)}" --order 2

Every argument, and every rule that is meant to differ (--intended), is a Python expression; it may use the names
of the function's own module, ``np``, ``jnp``, ``jax`` and ``normal(*shape)``, float32 numbers from a seeded normal
distribution. The exit status is 0 where the gradient is right, 1 where it is wrong and 2 where the question makes no
sense.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.errors import CnnjaxError, GradientError
from cnnjax.gradients import check_grads

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    >>> main(["jax.numpy:tanh", "--args", "normal(3)", "--modes", "rev"])
    The gradient of tanh agrees with finite differences.
    ...
    0
    """
    parser = argparse.ArgumentParser(
        prog="python -m cnnjax.check",
        description="Verify the derivatives of a JAX function against finite differences with an error bar.",
    )
    parser.add_argument("function", help="module:name, for example mypackage.losses:cross_entropy")
    parser.add_argument("--args", nargs="*", default=[], metavar="EXPR", help="a Python expression for each argument")
    parser.add_argument("--order", type=int, default=1, help="verify derivatives up to this order (default: 1)")
    parser.add_argument("--modes", nargs="+", default=["fwd", "rev"], choices=["fwd", "rev", "lin"])
    parser.add_argument("--seed", type=int, default=0, help="of normal() and of the random directions")
    parser.add_argument("--exhaustive", action="store_true", help="compare every single element")
    parser.add_argument(
        "--intended", nargs="+", default=[], metavar="EXPR", help="rules meant to differ, as jax.lax.stop_gradient"
    )
    parser.add_argument("--json", metavar="FILE", help="write the whole report")
    parser.add_argument("--figure", metavar="FILE", help="draw error against step (needs matplotlib)")
    options = parser.parse_args(argv)
    try:
        function, names = _find(options.function)
        rng = np.random.default_rng(options.seed)
        names |= {"np": np, "jnp": jnp, "jax": jax}
        names["normal"] = lambda *shape: rng.normal(size=shape).astype(np.float32)
        args, intended = (tuple(eval(text, names) for text in texts) for texts in (options.args, options.intended))
    except (ImportError, AttributeError, ValueError, SyntaxError, NameError, TypeError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    try:
        report = check_grads(
            function,
            args,
            options.order,
            options.modes,
            seed=options.seed,
            exhaustive=options.exhaustive,
            intended=intended,
        )
    except GradientError as error:
        if error.report is None:
            raise
        report = error.report
    except CnnjaxError as error:
        print(error, file=sys.stderr)
        return 2
    print(report)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            file.write(report.to_json())
    if options.figure:
        report.figure().savefig(options.figure, dpi=150)
    return 0 if report.ok else 1


def _find(text: str) -> tuple[Any, dict[str, Any]]:
    """Return the function that ``module:name`` means, and a copy of its module's names."""
    module_name, separator, name = text.partition(":")
    if not separator:
        raise ValueError(f"{text!r} is not of the form module:name")
    sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    finally:
        sys.path.pop(0)
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part)
    return found, dict(vars(module))


if __name__ == "__main__":
    sys.exit(main())
