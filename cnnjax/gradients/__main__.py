"""Verify the gradient of a function from the command line.

    python -m cnnjax.check mymodule:loss --args "normal(3, 4)" "{'w': normal(4)}" --order 2

Every argument, and every rule that is meant to differ (``--intended``), is a Python expression. It may use the names of
the function's own module, ``np``, ``jnp``, ``jax``, and ``normal(*shape)``, float32 numbers from a seeded normal
distribution. The exit status is 0 if the gradient is right, 1 if it is wrong and 2 if the command is invalid or the
function raises.
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
from cnnjax.gradients.differentiation import MODES

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Args:
        argv: the arguments; those of the process if None.

    Returns:
        0 if the gradient is right, 1 if it is wrong, 2 if the command is invalid or the function raises.

    >>> main(["jax.numpy:tanh", "--args", "normal(3)", "--modes", "rev"])
    The gradient of tanh agrees with finite differences.
    ...
    0
    """
    options = _parser().parse_args(argv)
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
            seconds=options.seconds or None,
        )
    except GradientError as error:
        if error.report is None:
            raise
        report = error.report
    except CnnjaxError as error:
        print(error, file=sys.stderr)
        return 2
    except Exception as error:  # the function cannot be called with these arguments
        print(f"{options.function} raises {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    print(report)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            file.write(report.to_json())
    if options.figure:
        report.figure().savefig(options.figure, dpi=150)
    return 0 if report.ok else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cnnjax.check",
        description="Verify the derivatives that JAX computes for a function against finite differences.",
    )
    add = parser.add_argument
    add("function", help="module:name, such as mypackage.losses:cross_entropy")
    add("--args", nargs="*", default=[], metavar="EXPR", help="a Python expression for each argument")
    add("--order", type=int, default=1, help="verify derivatives up to this order (default: 1)")
    add("--modes", nargs="+", default=["fwd", "rev"], choices=MODES, help="modes of differentiation (default: fwd rev)")
    add("--seed", type=int, default=0, help="seed of normal() and of the random directions (default: 0)")
    add("--exhaustive", action="store_true", help="compare every single element of the gradient")
    add("--seconds", type=float, default=60.0, help="the time to spend (default: 60; 0 for no limit)")
    intended = "rules that are meant to differ, such as jax.lax.stop_gradient"
    add("--intended", nargs="+", default=[], metavar="EXPR", help=intended)
    add("--json", metavar="FILE", help="write the report as JSON")
    add("--figure", metavar="FILE", help="plot the error of a difference against its step (needs matplotlib)")
    return parser


def _find(text: str) -> tuple[Any, dict[str, Any]]:
    """Return the function called ``module:name``, and a copy of the names in its module."""
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
