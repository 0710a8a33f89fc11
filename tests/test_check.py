"""The two names of the command line of gradient verification."""

import subprocess
import sys

import pytest

from cnnjax import check
from cnnjax.gradients import __main__


def test_it_is_the_command_line_of_the_gradients():
    assert check.main is __main__.main


@pytest.mark.parametrize("module", ["cnnjax.check", "cnnjax.gradients"])
def test_both_names_run_it(module):
    done = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: python -m cnnjax.check ")
