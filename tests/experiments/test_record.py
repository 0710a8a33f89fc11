"""How the experiments save their results."""

import pytest

NAMES = [
    "lenet5",
    "faces",
    "explore",
    "questions",
    "classics",
    "volumes",
    "connection_schemes",
    "lenet5_1998",
    "lenet_tutorial",
]


@pytest.mark.parametrize("name", [*NAMES, "precision", "faces", "field_guide", "fine_tune_digits"])
def test_a_file_in_the_place_of_the_folder_is_named_before_any_work(experiment, tmp_path, name):
    taken = tmp_path / "taken"
    taken.write_text("mine")
    with pytest.raises(SystemExit, match=r"--out: .*taken.* is not a folder; name one"):
        experiment(name).main(["--quick", "--out", str(taken)])
    assert taken.read_text() == "mine"
