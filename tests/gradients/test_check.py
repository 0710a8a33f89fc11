"""``check_grads`` as a user meets it: what it accepts, what it rejects, and what it says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.errors import ArgumentTypeError, ArgumentValueError, GradientError
from cnnjax.gradients import check_grads


def with_rule(f, fwd, bwd):
    ruled = jax.custom_vjp(f)
    ruled.defvjp(fwd, bwd)
    return ruled


def squares(factor):
    return with_rule(lambda x: x**2, lambda x: (x**2, x), lambda x, y: (factor * x * y,))


X = np.array([1.0, -2.0, 3.0], np.float32)


def failure(f, args, *rest, **options):
    with pytest.raises(GradientError) as caught:
        check_grads(f, args, *rest, **options)
    return caught.value.report


def test_a_right_rule_passes_and_the_missing_mode_is_reported():
    report = check_grads(squares(2.0), (X,))
    assert report.ok
    assert {check.name for check in report.checks if "rev" in check.name}
    assert any('mode "fwd"' in what for what, _ in report.skipped)
    assert 'mode "fwd"' in str(report)


@pytest.mark.parametrize("factor", [1.0, -2.0, 0.0, 2.001, 2.00001])
def test_a_wrong_factor_is_caught(factor):
    report = failure(squares(factor), (X,), 2)
    assert not report.ok
    assert {what for what, why in report.skipped if "is wrong" in why} == {
        "the nearby point, order 1",
        "the sign-flipped point, order 1",
        "order 2",
    }
    assert report.mismatches[0].where.startswith("args[0][")
    assert report.mismatches[0].computed == pytest.approx(factor / 2 * report.mismatches[0].reference, rel=1e-6)


def test_one_wrong_element_is_named():
    def bwd(residual, y):
        return ({"c3": {"w": (2 * residual * y).at[2, 0, 3, 7].multiply(1.001)}},)

    f = with_rule(lambda p: p["c3"]["w"] ** 2, lambda p: (p["c3"]["w"] ** 2, p["c3"]["w"]), bwd)
    w = np.random.default_rng(0).normal(size=(3, 2, 4, 8)).astype(np.float32)
    report = failure(lambda scale, p: scale * f(p), (2.0, {"c3": {"w": w}}))
    assert [found.where for found in report.mismatches] == ["args[1]['c3']['w'][2, 0, 3, 7]"]


def test_it_is_a_drop_in_for_the_one_in_jax():
    check_grads(jnp.sin, (X,), 2, ["rev"], 1e-2, 1e-2, 1e-3)
    with pytest.raises(AssertionError):
        check_grads(squares(1.0), (X,), 1, "rev")
    assert check_grads(squares(2.001), (X,), atol={np.dtype(np.float32): 0.1}).ok


def test_second_order_is_verified_against_the_first():
    @jax.custom_jvp
    def f(x):
        return x**3

    @jax.custom_jvp
    def slope(x):
        return 3 * x**2

    f.defjvp(lambda p, t: (f(*p), slope(*p) * t[0]))
    slope.defjvp(lambda p, t: (slope(*p), 5 * p[0] * t[0]))
    assert check_grads(f, (X,), 1).ok
    report = failure(f, (X,), 2)
    assert {check.order for check in report.failed} == {2}


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("promotion", ["standard", "strict"])
def test_the_configuration_is_left_as_it_was(x64, promotion):
    weights = np.arange(3, dtype=np.float32)  # a float32 constant in the closure

    def mixed_dtypes_raise(x):
        if x.dtype != np.float32:
            raise TypeError("float32 only")
        return jnp.tanh(x * jnp.asarray(weights))

    with jax.enable_x64(x64), jax.numpy_dtype_promotion(promotion), jax.numpy_rank_promotion("raise"):
        report = check_grads(mixed_dtypes_raise, (X,))
        assert jax.config.jax_enable_x64 is x64
        assert jax.config.jax_numpy_dtype_promotion == promotion
        assert check_grads(lambda x: jnp.tanh(x * jnp.asarray(weights)), (X,)).ok
    assert report.ok
    assert "jaxpr" in report.precision


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((3.0, (X,)), ArgumentTypeError, "`f` is 3.0"),
        ((jnp.sin, X), ArgumentTypeError, "write (x,)"),
        ((jnp.sin, (X,), 0), ArgumentValueError, "`order` is 0"),
        ((jnp.sin, (X,), 1, ("forward",)), ArgumentValueError, "`modes`"),
        ((jnp.sin, (X,), 1, None), ArgumentValueError, "`modes` is (None,)"),
        ((jnp.sin, (X,), 1, "rev", -1.0), ArgumentValueError, "`atol` is -1.0"),
        ((jnp.sin, (X,), 1, "rev", None, None, "a"), ArgumentValueError, "`eps` is 'a'"),
        ((jnp.sin, ({"x": jax.ShapeDtypeStruct((3,), np.float32)},)), ArgumentTypeError, "`args[0]['x']` is a shape"),
    ],
)
def test_arguments_that_cannot_work_are_refused(arguments, error, words):
    with pytest.raises(error) as caught:
        check_grads(*arguments)
    assert words in str(caught.value)


def test_exhaustive_is_a_yes_or_no():
    with pytest.raises(ArgumentTypeError, match="`exhaustive` is 'yes'"):
        check_grads(jnp.sin, (X,), exhaustive="yes")


@pytest.mark.parametrize("transform", [jax.jit, jax.grad])
def test_a_check_cannot_be_traced(transform):
    with pytest.raises(ArgumentTypeError, match=r"outside of jax\.jit"):
        transform(lambda x: check_grads(jnp.sin, (x,)))(1.0)


@pytest.mark.parametrize("seed", [-1, "x", 0.5])
def test_a_seed_is_a_number(seed):
    with pytest.raises(ArgumentValueError, match="`seed` is"):
        check_grads(jnp.sin, (X,), seed=seed)


@pytest.mark.parametrize(
    ("f", "args"),
    [
        (lambda x, i: x[i], (X, 1)),
        (lambda key, x: x * jax.random.normal(key, x.shape, x.dtype), (jax.random.key(0), X)),
        (lambda x: x * 2, (np.zeros((0, 3), np.float32),)),
        (lambda x: (x**2, jnp.argmax(x), None), (X,)),
        (lambda z: jnp.conj(z) * z * z, (np.array([1 + 2j, -3j], np.complex64),)),
        (lambda x: jnp.tanh(x), (np.array([0.5, 1.0], jnp.bfloat16),)),
        (lambda x: x**2 if x[0] > 0 else x, (X,)),
        (jax.jit(lambda x: x**2, donate_argnums=0), (jnp.asarray(X),)),
        (lambda x: jax.lax.while_loop(lambda c: c[0] < 100, lambda c: c * 1.5, x), (X,)),
        (lambda p: [p["a"] @ p["b"], {"c": p["a"].sum()}], ({"a": X, "b": X, "name": None},)),
    ],
)
def test_arguments_of_every_kind(f, args):
    with jax.numpy_dtype_promotion("standard"):
        assert check_grads(f, args).ok


@pytest.mark.parametrize("f", [jnp.abs, jax.nn.relu, lambda x: jnp.clip(x, 0.0, 1.0), jnp.max])
def test_a_convention_at_a_kink_is_accepted_and_counted(f):
    report = check_grads(f, (np.zeros(4, np.float32),))
    assert report.kinks > 0


def test_a_derivative_outside_the_one_sided_ones_is_rejected():
    bad = with_rule(jnp.abs, lambda x: (jnp.abs(x), x), lambda x, y: (jnp.where(x == 0, 2.0, jnp.sign(x)) * y,))
    assert failure(bad, (np.array([0.0, 1.0], np.float32),)).mismatches[0].where == "args[0][0]"


@pytest.mark.parametrize(
    "f", [jnp.sqrt, lambda x: jnp.sqrt((x**2).sum()), lambda x: jnp.where(x > 0, x * jnp.log(x), 0.0)]
)
def test_a_gradient_that_is_not_finite_is_rejected(f):
    assert "not finite" in str(failure(f, (np.array([0.0, 0.0], np.float32),)))


KEY = jax.random.key(7)
SAMPLERS = {  # each holds gamma variates, and they take long to compile: what a test says of one holds for all
    "log gamma": lambda a: jax.random.loggamma(KEY, a),
    "beta": lambda a: jax.random.beta(KEY, a, 1.5 * a),
}


@pytest.mark.usefixtures("float32_world")
@pytest.mark.parametrize("name", SAMPLERS)
def test_variates_follow_their_distribution(name):
    a = np.array([0.5, 2.0, 7.0], np.float32)
    assert check_grads(SAMPLERS[name], (a,), modes="rev").ok


@pytest.mark.usefixtures("float32_world")
def test_a_wrong_rule_around_variates_is_found():
    wrong = with_rule(jnp.sin, lambda x: (jnp.sin(x), x), lambda x, y: (1.01 * jnp.cos(x) * y,))
    failure(lambda a: wrong(jax.random.gamma(KEY, a)), (np.array([0.5, 2.0, 7.0], np.float32),), modes="rev")


def magnitude(x):
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32) & jnp.uint32(0x7FFFFFFF)
    return jax.lax.bitcast_convert_type(bits, jnp.float32)


OF_ONE_DTYPE = {
    "draws of the widest dtype": lambda x: x * jax.random.uniform(KEY, x.shape),
    "a branch on the dtype": lambda x: jnp.sin(x) if x.dtype == np.float32 else jnp.cos(x),
    "its bits": with_rule(magnitude, lambda x: (magnitude(x), x), lambda x, y: (jnp.sign(x) * y,)),
    "its epsilon": lambda x: jnp.sqrt((x - X.astype(x.dtype)) ** 2 + jnp.finfo(x.dtype).eps),
}


@pytest.mark.usefixtures("float32_world")
@pytest.mark.parametrize("name", OF_ONE_DTYPE)
def test_a_function_that_depends_on_its_dtype_is_verified_in_that(name):
    report = check_grads(OF_ONE_DTYPE[name], (X,), modes="rev")
    assert report.precision != "float64"
    assert any("another way to run it" in what for what, _ in report.skipped)
    assert "another way to run it" in str(report)


@pytest.mark.usefixtures("float32_world")
def test_a_table_can_be_verified_again_while_the_error_of_its_first_verification_is_kept():
    ids = np.array([[0, 2, 2], [1, 2, 0]])  # 64-bit integers, whose dtype JAX remembers from the first verification

    def looked_up(table):
        return table[ids]

    once = with_rule(looked_up, lambda t: (looked_up(t), t), lambda t, y: (jnp.zeros_like(t).at[ids].set(y),))
    every = with_rule(looked_up, lambda t: (looked_up(t), t), lambda t, y: (jnp.zeros_like(t).at[ids].add(y),))
    table = np.arange(6, dtype=np.float32).reshape(3, 2)
    with pytest.raises(GradientError) as kept:
        check_grads(once, (table,), modes="rev")
    assert check_grads(every, (table,), modes="rev").ok
    assert "args[0][" in str(kept.value)


def test_a_function_on_the_host_finds_64_bit_types_however_many_numbers_there_are(float32_world):
    def sine(x):
        return jax.pure_callback(lambda x: np.sin(x), jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    f = jax.custom_vjp(sine)
    f.defvjp(lambda x: (sine(x), x), lambda x, y: (1.01 * jnp.cos(x) * y,))
    with pytest.raises(GradientError) as caught:
        check_grads(f, (np.linspace(0, 6, 5000, dtype=np.float32),), modes=["rev"])
    assert caught.value.report.precision == "float64"


@pytest.mark.parametrize("seconds", [0, -1.0, "long", True, float("nan")])
def test_the_time_is_a_positive_number(seconds):
    with pytest.raises(ArgumentValueError, match="`seconds` is"):
        check_grads(jnp.sin, (X,), seconds=seconds)
