"""The report: one screen, the same for success and failure; JSON, figure, command line, fixture."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import check as command
from cnnjax.errors import ArgumentValueError, GradientError
from cnnjax.gradients import GradientReport, check_grads

pytest_plugins = ["pytester"]
X = np.array([1.0, -2.0, 3.0], np.float32)


@jax.custom_vjp
def half_square(x):
    return x**2


half_square.defvjp(lambda x: (x**2, x), lambda x, y: (x * y,))


@pytest.fixture(scope="module")
def reports():
    good = check_grads(jnp.tanh, (X,), 2)
    with pytest.raises(GradientError) as caught:
        check_grads(half_square, (X,))
    return good, caught.value.report


def test_success_and_failure_are_the_same_object(reports):
    good, bad = reports
    assert isinstance(good, GradientReport)
    assert isinstance(bad, GradientReport)
    assert (good.ok, bad.ok) == (True, False)
    assert good.worst < 1 < bad.worst
    assert bad.wrong
    assert bad.failed
    assert not good.failed


def test_it_fits_on_a_screen(reports):
    for report in reports:
        lines = str(report).splitlines()
        assert len(lines) <= 40
        assert max(map(len, lines)) <= 140
    assert "0.5 times the right gradient" in str(reports[1])
    assert "FAILED gradient (rev) at given, order 1" in str(reports[1])


def test_json_holds_everything(reports):
    for report in reports:
        data = json.loads(report.to_json())
        assert data["ok"] is report.ok
        assert [c["name"] for c in data["checks"]] == [c.name for c in report.checks]
        assert data["evaluations"] == report.evaluations > 0
    assert json.loads(reports[1].to_json())["diagnosis"]


def test_taylor_rates(reports):
    good, bad = (report.taylor for report in reports)
    assert good.rate == pytest.approx(2, abs=0.1)
    assert good.second_rate == pytest.approx(3, abs=0.2)
    assert bad.rate == pytest.approx(1, abs=0.1)
    assert "t^2.0" in str(reports[0])


def test_the_figure_shows_the_v(reports):
    pytest.importorskip("matplotlib")
    (axes,) = reports[0].figure().axes
    assert "step" in axes.get_xlabel()
    assert len(axes.get_lines()) == 2
    with pytest.raises(ArgumentValueError, match="nothing was differentiated"):
        check_grads(lambda i: i, (np.int32(1),)).figure()


def test_the_same_seed_gives_the_same_report():
    assert check_grads(jnp.sin, (X,), modes="rev", seed=3) == check_grads(jnp.sin, (X,), modes="rev", seed=3)


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


def test_the_fixture_makes_a_test_one_line(pytester):
    pytester.makeconftest('pytest_plugins = ["cnnjax.gradients.pytest_plugin"]')
    pytester.makepyfile(
        """
        import jax.numpy as jnp

        def test_right(check_gradients):
            check_gradients(jnp.sin, (jnp.ones(2),), modes="rev")

        def test_wrong(check_gradients):
            check_gradients(jnp.sqrt, (jnp.zeros(2),), modes="rev")
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*not finite where the function is*"])
