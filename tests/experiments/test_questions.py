"""The page of the 46 questions is complete, and its figures are drawn."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "questions.md"


def sections():
    """The numbered sections of the page: number and text."""
    parts = re.split(r"^### (\d+)\. ", PAGE.read_text(), flags=re.MULTILINE)
    return list(zip(map(int, parts[1::2]), parts[2::2], strict=True))


def test_there_are_46_sections_each_with_words_and_a_snippet():
    assert [number for number, _ in sections()] == list(range(1, 47))
    for number, text in sections():
        title, _, rest = text.partition("\n")
        assert title.endswith((".", "?", '"')), number
        assert ">>> " in rest, number


def test_every_picture_of_the_page_is_there_and_is_drawn_by_the_script(experiment, tmp_path, capsys):
    questions = experiment("questions")
    assert questions.main(["--out", str(tmp_path)]) == 0
    shown = set(re.findall(r"\(figures/(question_\w+)\.png\)", PAGE.read_text()))
    assert shown == set(questions.FIGURES)
    for name in shown:
        assert (tmp_path / "figures" / f"{name}.png").stat().st_size < 60_000
        assert (PAGE.parent / "figures" / f"{name}.png").exists()
    assert "question_bias.png" in capsys.readouterr().out
