import json

from cnnjax.training import history


def test_an_epoch_that_is_lived_through_again_replaces_itself_and_what_came_after(tmp_path):
    file = tmp_path / "history.jsonl"
    for epoch in (1, 2, 3, 4):
        history.append(file, {"epoch": epoch, "loss": 1 / epoch})
    before = file.read_bytes()
    assert [kept["epoch"] for kept in history.append(file, {"epoch": 2, "loss": 1 / 2})] == [1, 2]
    for epoch in (3, 4):
        history.append(file, {"epoch": epoch, "loss": 1 / epoch})
    assert file.read_bytes() == before
    assert history.read(file) == [json.loads(line) for line in before.splitlines()]
    assert [path.name for path in tmp_path.iterdir()] == ["history.jsonl"]
