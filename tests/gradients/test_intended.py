"""Rules that are declared to differ from the derivative of their function: taken as given, and nothing else is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from custom_rules import failed_checks, half_square
from jax import lax

from cnnjax.errors import ArgumentTypeError, ArgumentValueError, GradientError
from cnnjax.gradients import check_grads

X = np.array([0.3, 1.8, -2.2], np.float32)
W = np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)


def through(x):
    return x + lax.stop_gradient(jnp.round(x) - x)


@jax.custom_jvp
def rounded(x):
    return jnp.round(x)


rounded.defjvp(lambda p, t: (rounded(*p), t[0]))


@jax.custom_vjp
def reversed_gradient(x):
    return x


reversed_gradient.defvjp(lambda x: (x, None), lambda _, y: (-0.3 * y,))


@jax.custom_vjp
def clipped_gradient(x):
    return x


clipped_gradient.defvjp(lambda x: (x, None), lambda _, y: (jnp.clip(y, -1e-3, 1e-3),))


@jax.custom_vjp
def wrong_tanh(x):
    return jnp.tanh(x)


wrong_tanh.defvjp(lambda x: (jnp.tanh(x), x), lambda x, y: (y * (1 - jnp.tanh(x)),))


def in_a_scan(x):
    return lax.scan(lambda c, e: (jnp.tanh(rounded(c) + e), c), x[0], x)[1]


def in_a_branch(x):
    return lax.cond(x[0] > 0, rounded, jnp.sin, x)


CASES = {
    "straight-through by a stopped gradient": (lambda x: jnp.sin(through(W @ x)), lax.stop_gradient),
    "straight-through by a rule": (lambda x: jnp.sin(rounded(W @ x)), rounded),
    "reversed": (lambda x: jnp.sin(reversed_gradient(W @ x)), reversed_gradient),
    "clipped": (lambda x: jnp.sin(clipped_gradient(W @ x)), clipped_gradient),
    "in a scan": (in_a_scan, rounded),
    "in a branch, under jit": (jax.jit(in_a_branch), rounded),
    "a target that is held": (lambda x: (jnp.sin(x) - lax.stop_gradient(jnp.cos(x))) ** 2, lax.stop_gradient),
}


@pytest.mark.parametrize("name", CASES)
def test_a_declared_rule_is_taken_as_given_and_named(name):
    f, rule = CASES[name]
    report = check_grads(f, (X,), intended=[rule])
    assert report.ok
    assert len(report.intended) == 1
    assert "taken as given: " + report.intended[0] in str(report)


@pytest.mark.parametrize("name", CASES)
def test_undeclared_it_is_rejected_and_the_report_says_how_to_declare_it(name):
    f, rule = CASES[name]
    with pytest.raises(GradientError) as caught:
        check_grads(f, (X,))
    declared = "jax.lax.stop_gradient" if rule is lax.stop_gradient else rule.__name__
    if name != "clipped":  # that one breaks a law, not the gradient
        assert f"if that is intended, declare it: check_grads(..., intended=[{declared}])" in str(caught.value)


@pytest.mark.parametrize("rule", [lax.stop_gradient, rounded])
def test_a_wrong_rule_around_a_declared_one_is_still_found(rule):
    surrogate = through if rule is lax.stop_gradient else rule
    for f in (lambda x: surrogate(W @ wrong_tanh(x)), lambda x: wrong_tanh(W @ surrogate(x))):
        with pytest.raises(GradientError):
            check_grads(f, (X,), intended=[rule])


def test_the_second_order_and_every_element_go_through_it():
    f, rule = CASES["straight-through by a stopped gradient"]
    assert check_grads(f, (X,), 2, intended=[rule], exhaustive=True).ok


@pytest.mark.parametrize(
    ("f", "intended", "error", "words"),
    [
        (jnp.sin, [rounded], ArgumentValueError, "rules that f does not use: rounded at"),
        (jnp.sin, [jnp.sin], ArgumentTypeError, "the function that carries the rule"),
        (lambda x: rounded(x) if x[0] > 0 else x, rounded, ArgumentValueError, "cannot be traced"),
        (
            lambda x: lax.while_loop(lambda c: c.sum() < 9, lambda c: 2 * rounded(c), x),
            rounded,
            ArgumentValueError,
            "inside while",
        ),
    ],
)
def test_a_declaration_that_cannot_be_kept_is_an_error(f, intended, error, words):
    with pytest.raises(error, match=words):
        check_grads(f, (np.array([1.0, 2.0]),), intended=intended)


def exponential_by_rejection(key, rate):
    """Draw from an exponential distribution cut off at 1, by rejection; its rule is that of the quantile."""

    def sample(rate):
        def again(state):
            u, v = jax.random.uniform(jax.random.fold_in(key, state[0]), (2,), rate.dtype)
            return state[0] + 1, u, v < jnp.exp(-rate * u)

        return jax.lax.while_loop(lambda state: ~state[2], again, (0, jnp.zeros((), rate.dtype), False))[1]

    draw = jax.custom_jvp(sample)

    def rule(primals, tangents):
        (rate,), z = primals, draw(*primals)
        mass = -jnp.expm1(-rate)  # F(z) = (1 - exp(-rate z)) / mass, and dz = -dF / density
        slope = (z * jnp.exp(-rate * z) - -jnp.expm1(-rate * z) * jnp.exp(-rate) / mass) / (rate * jnp.exp(-rate * z))
        return z, -slope * tangents[0]

    draw.defjvp(rule)
    return draw(rate)


@pytest.mark.usefixtures("float32_world")
def test_the_rule_of_a_rejection_sampler_is_taken_as_given():
    report = check_grads(lambda rate: jnp.sin(exponential_by_rejection(jax.random.key(0), rate)), (np.float32(1.7),))
    assert "a rejection sampler" in report.intended[0]

    def wrong_around_it(rate):
        return half_square(exponential_by_rejection(jax.random.key(0), rate))

    assert failed_checks(wrong_around_it, (np.float32(1.7),), modes="rev") >= {"gradient"}
