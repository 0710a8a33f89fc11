"""The command line: its exit status, and what it prints and writes."""

import json

import pytest

from cnnjax.gradients import __main__ as command


def test_the_command_line(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "losses_to_check.py").write_text(
        "import jax, jax.numpy as jnp\nclass Loss:\n    f = staticmethod(jnp.sin)\n"
        "def held(x):\n    return jnp.sin(x) * jax.lax.stop_gradient(x)\n"
    )
    out = tmp_path / "report.json"
    assert command.main(["losses_to_check:Loss.f", "--args", "normal(3)", "--json", str(out)]) == 0
    assert "agrees" in capsys.readouterr().out
    assert json.loads(out.read_text())["ok"]
    question = ["losses_to_check:held", "--args", "normal(3)", "--modes", "rev"]
    assert command.main([*question, "--intended", "jax.lax.stop_gradient"]) == 0
    assert command.main(["jax.numpy:sqrt", "--args", "np.zeros(2)", "--modes", "rev"]) == 1
    assert "DISAGREES" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["jax.numpy"], "not of the form module:name"),
        (["jax.numpy:nothing"], "nothing"),
        (["no_such_module:f"], "no_such_module"),
        (["jax.numpy:sin", "--args", "normal("], "SyntaxError"),
        (["jax.numpy:sin", "--args", "normal(2)", "--order", "0"], "`order` is 0"),
        (["jax.numpy:arctan2", "--args", "normal(2)"], "arctan2 raises TypeError"),
        (["jax.numpy:linalg.inv", "--args", "normal(2)"], "raises ValueError"),
    ],
)
def test_a_question_that_makes_no_sense(arguments, words, capsys):
    assert command.main(arguments) == 2
    assert words in capsys.readouterr().err


def test_the_figure_of_the_command_line(tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "v.png"
    assert command.main(["jax.numpy:sin", "--args", "normal(2)", "--modes", "rev", "--figure", str(picture)]) == 0
    assert picture.stat().st_size > 1000
