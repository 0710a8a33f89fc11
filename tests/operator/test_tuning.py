"""Measuring methods, the file they are kept in, and what a convolution makes of them. Times are given, not measured."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

import cnnjax
from cnnjax import CnnjaxError, explain
from cnnjax.errors import DataError, DataNotFoundError
from cnnjax.layers import Conv2D
from cnnjax.operator import tuning
from cnnjax.operator.methods import BY_NAME
from cnnjax.operator.spec import DIRECTIONS

X, W = (2, 6, 6, 4), (3, 3, 4, 4)
MADE_UP = {"lax": 2.0, "im2col": 1.0, "shift": 3.0, "toeplitz": 1.95}


@pytest.fixture(autouse=True)
def times(request, monkeypatch):
    """Each candidate takes the time that MADE_UP says, and nothing is compiled for it."""
    made_up = dict(MADE_UP)

    def milliseconds(programs, seconds):
        return {name: made_up.get(name, 9.0) for name in programs}

    if "as_measured" not in request.fixturenames:
        monkeypatch.setattr(tuning, "_milliseconds", milliseconds)
    return made_up


@pytest.fixture
def as_measured():
    """Asked for by a test that wants real times."""


def tune(x=X, w=W, **settings):
    return cnnjax.tune(x, w, **{"methods": ["lax", "im2col", "shift"], **settings})


def arrays(x=X, w=W, dtype="float32"):
    random = np.random.default_rng(0)
    return jnp.asarray(random.standard_normal(x), dtype), jnp.asarray(random.standard_normal(w), dtype)


def programs_of(f, *arguments):
    """The methods that stand in a program, {direction: method}, without those that the rule is left to choose."""
    found = {}

    def walk(jaxpr):
        for equation in jaxpr.eqns:
            if equation.primitive.name.startswith("cnnjax_"):
                direction = equation.primitive.name.removeprefix("cnnjax_")
                found[direction] = equation.params["spec"].resolved(direction, "cpu").method
            for inner in jaxprs_in_params(equation.params):
                walk(inner)

    walk(jax.make_jaxpr(f)(*arguments).jaxpr)
    return found


def loss(method, **settings):
    return lambda x, w: jnp.sum(cnnjax.conv2d(x, w, method=method, **settings) ** 2)


# --- what is chosen


def test_the_fastest_is_chosen_in_each_direction():
    (one,) = tune().measurements
    for direction in DIRECTIONS:
        assert one.direction(direction).method == "im2col"
        assert one.direction(direction).milliseconds == (("im2col", 1.0), ("lax", 2.0), ("shift", 3.0))


@pytest.mark.parametrize(("ms", "gives_way"), [(1.95, False), (1.89, True), (2.5, False)])
def test_the_rule_gives_way_only_to_what_is_clearly_faster(times, ms, gives_way):
    rule = explain(X, W, platform="cpu").chosen["forward"][0]
    times |= {rule: 2.0, "shift": ms}
    assert rule != "shift"
    assert tune(methods=[rule, "shift"]).measurements[0].forward.method == ("shift" if gives_way else rule)


def test_the_candidates_serve_and_round_no_worse_than_lax():
    x, w = arrays()
    exact = cnnjax.reference.convolve(x, w)
    names = [name for name, _ in cnnjax.tune(X, W).measurements[0].forward.milliseconds]
    assert {"lax", "im2col", "shift"} <= set(names)
    assert not {"definition", "sparse", "winograd2", "winograd4", "fft"} & set(names)
    error = {name: float(np.max(np.abs(np.asarray(cnnjax.conv2d(x, w, method=name)) - exact))) for name in names}
    assert max(error.values()) < 5 * max(error["lax"], 1e-6)


def test_what_rounds_worse_is_measured_if_it_is_named():
    measured = cnnjax.tune(X, W, methods=["winograd4", "lax", "lax"]).measurements[0]
    assert sorted(name for name, _ in measured.forward.milliseconds) == ["lax", "winograd4"]


def test_times_are_measured(as_measured):
    (one,) = cnnjax.tune(X, W, seconds=0.001).measurements
    for direction in DIRECTIONS:
        timed = one.direction(direction)
        assert {name for name, _ in timed.milliseconds} == {
            name for name, method in BY_NAME.items() if method.refuses(one.spec) is None
        } - {"definition", "sparse", "winograd2", "winograd4", "fft"}
        assert [ms for _, ms in timed.milliseconds] == sorted(ms for _, ms in timed.milliseconds)
        assert min(ms for _, ms in timed.milliseconds) > 0


def test_a_hopeless_candidate_is_timed_once(as_measured, monkeypatch):
    clock = iter(range(10**9))
    monkeypatch.setattr(tuning.time, "perf_counter", lambda: float(next(clock)))
    called = {"slow": 0, "fast": 0}

    def program(name, steps):
        def run():
            called[name] += 1
            for _ in range(steps):
                next(clock)

        return run

    found = tuning._milliseconds({"slow": program("slow", 99), "fast": program("fast", 1)}, 5)
    assert found == {"slow": 100e3, "fast": 2e3}
    assert called["slow"] == 2  # to compile, and once more
    assert called["fast"] > 6


# --- what a convolution makes of it


def test_the_program_carries_what_was_measured(times):
    x, w = arrays()
    assert programs_of(lambda x, w: cnnjax.conv2d(x, w, method=tune()), x, w) == {"forward": "im2col"}
    gradient = jax.jit(jax.grad(loss(tune()), (0, 1)))
    assert programs_of(gradient, x, w) == dict.fromkeys(DIRECTIONS, "im2col")
    times["shift"] = 0.5
    assert programs_of(lambda x, w: cnnjax.conv2d(x, w, method=tune()), x, w) == {"forward": "shift"}


def test_directions_may_have_different_methods():
    measured = tune()
    (one,) = measured.measurements
    other = cnnjax.Tuned(
        **{name: getattr(measured, name) for name in ("machine", "platform", "jax", "cnnjax")},
        measurements=(type(one)(one.spec, one.forward, type(one.forward)("shift", (("shift", 1.0),)), one.forward),),
    )
    gradient = programs_of(jax.grad(loss(other), (0, 1)), *arrays())
    assert gradient == {"forward": "im2col", "input_gradient": "shift", "weight_gradient": "im2col"}
    chosen = explain(X, W, method=other, platform="cpu").chosen
    assert [chosen[direction][0] for direction in DIRECTIONS] == ["im2col", "shift", "im2col"]


@pytest.mark.parametrize("transform", [jax.jit, jax.vmap, lambda f: jax.jit(jax.vmap(f))], ids=["jit", "vmap", "both"])
def test_values_and_gradients_are_those_of_auto(transform):
    x, w = arrays(dtype="float64")
    x, w = jnp.stack([x, 2 * x]), jnp.stack([w, w + 1])
    x, w = (x[0], w[0]) if transform is jax.jit else (x, w)
    measured = tune(dtype="float64")
    for order in (loss, lambda method: jax.grad(loss(method), (0, 1)), lambda method: jax.hessian(loss(method), 1)):
        found, wanted = transform(order(measured))(x, w), transform(order("auto"))(x, w)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-9), found, wanted)


@pytest.mark.parametrize(
    ("x", "w", "dtype", "settings"),
    [
        ((3, 6, 6, 4), W, "float32", {}),
        (X, (3, 2, 4, 4), "float32", {}),
        (X, W, "float64", {}),
        (X, W, "float32", {"padding": "SAME"}),
        (X, W, "float32", {"stride": 2}),
        (X, (3, 3, 2, 4), "float32", {"groups": 2}),
    ],
)
def test_what_was_not_measured_is_what_auto_makes_of_it(x, w, dtype, settings):
    x, w = arrays(x, w, dtype)
    measured = tune()
    found, wanted = (jax.make_jaxpr(jax.grad(loss(m, **settings), (0, 1)))(x, w) for m in (measured, "auto"))
    assert str(found) == str(wanted)
    chosen = explain(x.shape, w.shape, method=measured, dtype=dtype, platform="cpu", **settings).chosen
    assert all(why.endswith("(not measured)") for _, why in chosen.values())


def test_it_is_found_by_what_is_computed_not_by_how_it_was_asked_for():
    measured = tune(padding="SAME")
    for padding in ("SAME", 1, ((1, 1), (1, 1)), "SAME_LOWER"):
        assert explain(X, W, padding=padding, method=measured, platform="cpu").chosen["forward"][0] == "im2col"
    wrapped = tune(padding="CIRCULAR")
    assert programs_of(lambda x, w: cnnjax.conv2d(x, w, padding="CIRCULAR", method=wrapped), *arrays()) == {
        "forward": "im2col"
    }


def test_on_another_platform_the_rule_is_used():
    x, w = arrays()
    program = {
        method: jax.jit(lambda x, w, m=m: cnnjax.conv2d(x, w, method=m))
        .trace(x, w)
        .lower(lowering_platforms=("cuda",))
        .as_text()
        for method, m in (("tuned", tune()), ("auto", "auto"))
    }
    assert "stablehlo.convolution" in program["tuned"]
    assert program["tuned"] == program["auto"]
    method, why = explain(X, W, method=tune(), platform="cuda").chosen["forward"]
    assert (method, why.endswith("(measured on another platform: cpu)")) == ("lax", True)


def test_explain_says_that_it_was_measured_and_the_times():
    method, why = explain(X, W, method=tune(), platform="cpu").chosen["weight_gradient"]
    assert (method, why) == ("im2col", "measured, in ms: im2col 1, lax 2, shift 3")


def test_it_is_a_value():
    a, b = tune(), tune()
    assert a == b
    assert hash(a) == hash(b)
    x, w = arrays()
    static = jax.jit(lambda x, w, method: cnnjax.conv2d(x, w, method=method), static_argnames="method")
    assert static(x, w, method=a).shape == (2, 4, 4, 4)
    assert static._cache_size() == 1
    static(x, w, method=b)
    assert static._cache_size() == 1
    static(x, w, method="auto")
    assert static._cache_size() == 2


def test_it_can_be_measured_while_a_function_is_traced(as_measured):
    @jax.jit
    def f(x, w):
        return cnnjax.conv2d(x, w, method=tune(x.shape, w.shape, methods=["im2col"], dtype=x.dtype, seconds=0.001))

    assert programs_of(f, *arrays()) == {"forward": "im2col"}


def test_measurements_are_joined(times):
    first, second = tune(), tune(padding="SAME")
    assert len((first | second).measurements) == 2
    times["shift"] = 0.1
    again = first | second | tune()
    assert [one.forward.method for one in again.measurements] == ["shift", "im2col"]
    assert "(2, 6, 6, 4) by (3, 3, 4, 4), float32: shift / shift / shift" in str(again)


def test_a_layer_takes_it():
    x, w = arrays()
    layer = Conv2D(4, 3, bias=False, method=tune())
    assert programs_of(lambda x, w: layer.apply({"w": w}, x), x, w) == {"forward": "im2col"}
    with pytest.raises(ValueError, match="Conv2D: `method` is 'fastest'"):
        Conv2D(4, 3, method="fastest")


def test_every_convolution_takes_it():
    line = cnnjax.tune((1, 9, 2), (3, 2, 2), methods=["shift"])
    assert programs_of(lambda x, w: cnnjax.conv1d(x, w, method=line), *arrays((1, 9, 2), (3, 2, 2))) == {
        "forward": "shift"
    }
    each = cnnjax.tune((1, 6, 6, 2), (3, 3, 1, 4), groups=2, methods=["grouped"])
    shapes = (1, 6, 6, 2), (3, 3, 2, 2)
    assert programs_of(lambda x, w: cnnjax.depthwise_conv2d(x, w, method=each), *arrays(*shapes)) == {
        "forward": "grouped"
    }


# --- the file


def test_the_file_is_read_back_and_added_to(tmp_path, times):
    file = tmp_path / "cnnjax-tuned.json"
    first = tune(file=file)
    assert cnnjax.tuned(file) == first
    both = tune(padding="CIRCULAR", dilation=2, stride=(1, 2), file=str(file))
    assert len(both.measurements) == 2
    assert cnnjax.tuned(str(file)) == both
    times["shift"] = 0.1
    assert [one.forward.method for one in tune(file=file).measurements] == ["shift", "im2col"]
    assert list(tmp_path.iterdir()) == [file]


def test_the_file_can_be_read_by_people(tmp_path):
    file = tmp_path / "tuned.json"
    tune(file=file)
    content = json.loads(file.read_text())
    assert content["jax"] == jax.__version__
    (entry,) = content["convolutions"]
    assert (entry["x"], entry["w"], entry["dtype"]) == (list(X), list(W), "float32")
    assert entry["forward"] == {"method": "im2col", "ms": {"im2col": 1.0, "lax": 2.0, "shift": 3.0}}


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    file = tmp_path / "tuned.json"
    tune(file=file)
    before = file.read_bytes()

    def full(*arguments, **settings):
        raise OSError("no space left on device")

    monkeypatch.setattr(tuning.json, "dump", full)
    with pytest.raises(OSError, match="no space left"):
        tune(padding=1, file=file)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def damaged(change):
    """What makes a damaged text of a good one."""
    return lambda text: json.dumps(change(json.loads(text)))


def entry(**changes):
    return damaged(lambda content: content | {"convolutions": [content["convolutions"][0] | changes]})


NOT_READ = {
    "empty": (lambda text: "", "damaged"),
    "cut": (lambda text: text[: len(text) // 2], "damaged"),
    "another file": (damaged(lambda content: [1, 2]), "damaged"),
    "no convolutions": (damaged(lambda content: content | {"convolutions": None}), "damaged"),
    "entry of nothing": (damaged(lambda content: content | {"convolutions": [{}]}), "damaged (KeyError"),
    "shapes that do not fit": (entry(x=[2, 6, 6, 3]), "damaged"),
    "kernel too large": (entry(w=[9, 9, 4, 4]), "damaged"),
    "unknown dtype": (entry(dtype="float31"), "damaged"),
    "unknown method": (entry(forward={"method": "best", "ms": {"best": 1.0}}), "damaged"),
    "a method that does not serve": (entry(forward={"method": "depthwise", "ms": {"depthwise": 1.0}}), "damaged"),
    "a method without a time": (entry(forward={"method": "lax", "ms": {"im2col": 1.0}}), "damaged"),
    "a time that is none": (entry(forward={"method": "lax", "ms": {"lax": "fast"}}), "damaged"),
    "another jax": (damaged(lambda content: content | {"jax": "0.4.1"}), "measured with jax '0.4.1', not '"),
    "another cnnjax": (damaged(lambda content: content | {"cnnjax": "9"}), "measured with cnnjax '9', not '"),
    "another machine": (damaged(lambda content: content | {"machine": "Z80"}), "measured with machine 'Z80', not '"),
    "another platform": (damaged(lambda content: content | {"platform": "tpu"}), "measured with platform 'tpu'"),
}


@pytest.mark.parametrize(("damage", "words"), NOT_READ.values(), ids=NOT_READ)
def test_what_cannot_be_used_is_said_and_left_as_it_was(tmp_path, damage, words):
    file = tmp_path / "tuned.json"
    tune(file=file)
    file.write_text(damage(file.read_text()))
    before = file.read_bytes()
    for use, name in ((cnnjax.tuned, "tuned"), (lambda file: tune(file=file), "tune")):
        with pytest.raises(DataError) as caught:
            use(file)
        assert isinstance(caught.value, ValueError)
        assert str(caught.value).startswith(f"{name}: `file` is '{file}', which ")
        assert words in str(caught.value)
        assert "measure again with cnnjax.tune" in str(caught.value)
    assert file.read_bytes() == before


def test_a_file_that_is_not_there_or_no_file(tmp_path):
    with pytest.raises(DataNotFoundError, match="which does not exist"):
        cnnjax.tuned(tmp_path / "nothing.json")
    with pytest.raises(DataError, match="which cannot be read"):
        cnnjax.tuned(tmp_path)


# --- arguments


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"x": (6, 6, 4)}, ValueError, "give x_shape its batch axis"),
        ({"w": None}, TypeError, "`w_shape` is None"),
        ({"w": (3, 3, 3, 4)}, ValueError, "3 input maps"),
        ({"stride": 0}, ValueError, "`stride` is 0"),
        ({"dtype": "int8"}, TypeError, "`dtype` is 'int8'; expected a floating or complex dtype"),
        ({"dtype": "float31"}, TypeError, "`dtype` is 'float31'"),
        ({"methods": ["fastest"]}, ValueError, "`methods` is ['fastest']"),
        ({"methods": []}, ValueError, "`methods` is []"),
        ({"methods": "lax"}, TypeError, "`methods` is 'lax'"),
        ({"methods": ["matmul"]}, ValueError, "which does not serve this call"),
        ({"seconds": 0}, ValueError, "`seconds` is 0"),
        ({"seconds": "long"}, TypeError, "`seconds` is 'long'"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, words):
    with pytest.raises(error, match="tune: ") as caught:
        tune(**arguments)
    assert isinstance(caught.value, CnnjaxError)
    assert words in str(caught.value)


def test_64_bits_must_be_switched_on(float32_world):
    with pytest.raises(TypeError, match="set jax_enable_x64"):
        tune(dtype="float64")
