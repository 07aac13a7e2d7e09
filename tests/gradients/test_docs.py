"""The example in docs/gradcheck.md does what the page says."""

import re
from pathlib import Path

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "gradcheck.md").read_text()


def block(language, containing):
    (found,) = (text for text in re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL) if containing in text)
    return found


def test_the_example(tmp_path, capsys, monkeypatch):
    from dlkit.cli.main import run

    (tmp_path / "my_layers.py").write_text(block("python", "def affine_forward"))
    monkeypatch.chdir(tmp_path)
    assert run(["gradcheck", "my_layers.py:affine_forward"]) == 1
    assert capsys.readouterr().out == block("text", "affine_forward: WRONG")


def test_the_corrected_example(tmp_path, monkeypatch):
    from dlkit.cli.main import run

    (tmp_path / "my_layers.py").write_text(block("python", "def affine_forward").replace("dy.mean", "dy.sum"))
    monkeypatch.chdir(tmp_path)
    assert run(["gradcheck", "my_layers.py:affine_forward"]) == 0


def test_every_diagnosis_stands_in_the_table():
    """The sentences that `diagnose` and `check` can print, by their first words."""
    table = PAGE[PAGE.index("## What a diagnosis means") : PAGE.index("## Method")]
    for words in (
        "sign flipped", "constant factor", "is zero", "missing transpose", "wrong axis", "wrong order", "reversed", "shifted",
        "padding border only", "missing accumulation", "only elements with index", "depends on this one", "too many",
        "missing term", "dy is ignored", "float32 arithmetic inside", "randomness between calls", "modified in place",
        "adds up between calls", "on a kink",
    ):  # fmt: skip
        assert words in table, words
