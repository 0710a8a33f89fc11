"""The checksums of a checkpoint find every change of its items, and of nothing else."""

import pytest

from cnnjax.training.checksums import find_damage, write_checksums

ITEMS = ("arrays", "metadata")


@pytest.fixture
def checkpoint(tmp_path):
    for item in ITEMS:
        (tmp_path / item / "d").mkdir(parents=True)
        (tmp_path / item / "d" / "file").write_bytes(b"content of " + item.encode())
    write_checksums(tmp_path, ITEMS)
    return tmp_path


def test_what_was_written_is_not_damaged(checkpoint):
    (checkpoint / "beside").write_text("Orbax adds files of its own")
    assert find_damage(checkpoint, ITEMS) is None


@pytest.mark.parametrize("item", ITEMS)
def test_every_change_is_found(checkpoint, item):
    file = checkpoint / item / "d" / "file"
    file.write_bytes(file.read_bytes()[::-1])
    assert find_damage(checkpoint, ITEMS) == f"{item}/d/file is not what was written"
    file.unlink()
    assert find_damage(checkpoint, ITEMS) == f"{item}/d/file is missing"
    assert find_damage(checkpoint, (*ITEMS, "more")) == "more was not written"
    (checkpoint / "checksums.json").unlink()
    assert find_damage(checkpoint, ITEMS) == "checksums.json cannot be read (FileNotFoundError)"
