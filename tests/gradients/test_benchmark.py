"""A sample of the benchmark in ``benchmarks/gradcheck``; all of it takes minutes and belongs there."""

import sys
from pathlib import Path

import jax
import pytest

from cnnjax.errors import GradientError
from cnnjax.gradients import check_grads

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "gradcheck"))
from bugs import bugs
from hard import hard_functions

sys.path.pop(0)
BUGS, HARD = bugs(), hard_functions()


@pytest.fixture(autouse=True)
def as_users_have_it(float32_world):
    """Let the functions promote and broadcast as JAX does by default."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def test_the_benchmark_is_as_large_as_it_should_be():
    assert len(BUGS) >= 100
    assert len(HARD) >= 60
    assert len({bug.name for bug in BUGS}) == len(BUGS)
    assert len({case.name for case in HARD}) == len(HARD)


@pytest.mark.parametrize("bug", BUGS[60::14], ids=lambda bug: bug.name)
def test_a_planted_bug_is_caught_and_its_twin_accepted(bug):
    with pytest.raises(GradientError):
        check_grads(bug.bad, bug.args, bug.order)
    assert check_grads(bug.good, bug.args, bug.order).ok


@pytest.mark.parametrize("case", HARD[::14], ids=lambda case: case.name)
def test_a_right_but_hard_function_is_accepted(case):
    assert check_grads(case.f, case.args, case.order).ok
