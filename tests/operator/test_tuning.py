"""`cnnjax.tune`: which candidate is chosen, and the file with the measurements. Times are given, not measured."""

import json

import jax
import numpy as np
import pytest
from tuning_cases import W, X, arrays, tune

import cnnjax
from cnnjax import CnnjaxError, explain
from cnnjax.errors import DataError, DataNotFoundError
from cnnjax.operator import _onednn, tuning
from cnnjax.operator.methods import BY_NAME
from cnnjax.operator.spec import DIRECTIONS

pytestmark = pytest.mark.usefixtures("times")


# What is chosen


def test_the_fastest_is_chosen_in_each_direction():
    (one,) = tune().measurements
    for direction in DIRECTIONS:
        assert one.direction(direction).method == "im2col"
        assert one.direction(direction).milliseconds == (("im2col", 1.0), ("lax", 2.0), ("shift", 3.0))


@pytest.mark.parametrize(("ms", "gives_way"), [(1.95, False), (1.89, True), (2.5, False)])
def test_auto_is_replaced_only_by_what_is_clearly_faster(times, ms, gives_way):
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


def test_what_a_program_that_may_be_stored_does_not_call_is_no_candidate(monkeypatch):
    monkeypatch.setattr(tuning, "default_platform", lambda: "stored cpu")
    assert "onednn" not in dict(cnnjax.tune(X, W).measurements[0].forward.milliseconds)
    monkeypatch.setattr(_onednn, "unavailable", lambda: None)
    with pytest.raises(ValueError, match="'onednn', which a program for 'stored cpu' does not call"):
        cnnjax.tune(X, W, methods=["onednn"])


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


# The file


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


def test_a_file_is_replaced_atomically(tmp_path, monkeypatch):
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
def test_a_file_that_cannot_be_used_is_refused_and_left_unchanged(tmp_path, damage, words):
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


# Arguments


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
