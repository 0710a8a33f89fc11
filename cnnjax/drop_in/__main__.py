"""Run somebody's script with drop_in on: python -m cnnjax.drop_in train.py --epochs 3, or -m package.module."""

from __future__ import annotations

import os
import runpy
import sys

from cnnjax.drop_in import enable

__all__ = ["main"]

_USAGE = "usage: python -m cnnjax.drop_in [-m] SCRIPT_OR_MODULE [ARGUMENT ...]"


def main(arguments: list[str]) -> None:
    """Run a script, or with "-m" a module, as Python itself would; the other arguments are its own."""
    as_module = arguments[:1] == ["-m"]
    program, *rest = arguments[as_module:] or [""]
    if not program or (program.startswith("-") and not as_module):
        raise SystemExit(_USAGE if program in ("-h", "--help") else f"{_USAGE}\nno script was given")
    enable()
    sys.argv = [program, *rest]
    if as_module:
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = os.path.dirname(os.path.abspath(program))
        runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
