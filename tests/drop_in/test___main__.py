"""python -m cnnjax.drop_in runs somebody's script as Python would, with drop_in on."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("as_module", [False, True])
def test_a_script_runs_unchanged(tmp_path, as_module):
    (tmp_path / "other.py").write_text("NAME = 'imported'\n")
    (tmp_path / "script.py").write_text(
        "import sys, cnnjax, other\nprint(__name__, sys.argv[1:], cnnjax.drop_in.is_enabled(), other.NAME)\n"
    )
    program = ["-m", "script"] if as_module else [str(tmp_path / "script.py")]
    command = [sys.executable, "-m", "cnnjax.drop_in", *program, "--epochs", "3"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout == "__main__ ['--epochs', '3'] True imported\n"


def test_a_script_must_be_given():
    run = subprocess.run([sys.executable, "-m", "cnnjax.drop_in"], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "usage: python -m cnnjax.drop_in" in run.stderr
