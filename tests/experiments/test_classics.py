"""The classical answers hold: the script writes the numbers that its header promises."""

import json
import math

import pytest


@pytest.fixture
def numbers(experiment, tmp_path):
    classics = experiment("classics")
    assert classics.main(["--quick", "--out", str(tmp_path)]) == 0
    assert {path.stem for path in tmp_path.glob("figures/*.png")} == {f"classic_{name}" for name in classics.ANSWERS}
    return json.loads((tmp_path / "records" / "classics.json").read_text())


def test_a_quick_run_finds_what_it_promises(numbers):
    counts = numbers["matrix"]["parameters_of_c1"]
    assert counts == {"dense": 4_821_600, "locally connected": 122_304, "convolution": 156}
    assert numbers["matrix"]["product_with_the_matrix_differs_by"] < 1e-5
    assert numbers["matrix"]["distinct_values"] == 9
    assert numbers["matrix"]["share_of_entries_that_are_not_zero"] == 9 / 64
    assert all(number < 1e-4 for number in numbers["spectra"].values())
    moved = numbers["equivariance"]
    assert max(moved["convolution"]) < 1e-6
    assert max(moved["then 2 x 2 pooling"][::2]) < 1e-6 < 0.1 < min(moved["then 2 x 2 pooling"][1::2])
    assert moved["one_pixel_shifts_that_2x2_pooling_absorbs"] == "3 of 8"
    assert numbers["im2col"]["columns"] == [363, 225]
    assert numbers["im2col"]["largest_difference_relative"] < 1e-5
    assert numbers["dense"]["without padding"]["difference"] < 1e-5
    assert numbers["dense"]["with padding"]["difference"] > 0.1
    practice = numbers["gradient"]
    at = {round(-math.log10(step)): place for place, step in enumerate(practice["steps"])}
    assert practice["centred, float64"][at[5]] == pytest.approx(9.4e-13, rel=0.02)
    assert practice["centred, float64"][at[2]] == pytest.approx(3.2e-6, rel=0.02)
    assert practice["one-sided, float64"][at[5]] == pytest.approx(6.0e-6, rel=0.02)
    assert practice["centred, float32"][at[5]] == pytest.approx(7.9e-5, rel=0.02)
    assert practice["kink"][at[1]] == pytest.approx(0.5, rel=1e-4)
    assert practice["kink"][at[6]] == pytest.approx(0, abs=1e-9)
    assert practice["check_grads_accepts_relu"]
    assert {"jax", "numpy"} <= set(numbers["environment"]["versions"])


def test_the_figures_can_be_asked_for_one_by_one(experiment, tmp_path):
    assert experiment("classics").main(["--only", "matrix", "--out", str(tmp_path)]) == 0
    assert [path.name for path in tmp_path.glob("figures/*.png")] == ["classic_matrix.png"]


def test_alexnets_columns_are_those_of_the_notes(experiment):
    numbers, _ = experiment("classics").im2col(quick=False)
    assert numbers["columns"] == [363, 3025]
    assert numbers["numbers_in_columns_per_pixel_value"] == pytest.approx(7.10, abs=0.01)
