"""The README's accuracy table: what `dlkit train` reaches on real data. Quick rows always, the rest with -m slow."""

import importlib.util
from pathlib import Path

import pytest

spec = importlib.util.spec_from_file_location(
    "accuracy", Path(__file__).resolve().parents[1] / "benchmarks" / "accuracy.py"
)
accuracy = importlib.util.module_from_spec(spec)
__import__("sys").modules["accuracy"] = accuracy  # dataclasses look their module up
spec.loader.exec_module(accuracy)


@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param(r, id=r.name, marks=[] if r.quick else [pytest.mark.slow, pytest.mark.timeout(3600)])
        for r in accuracy.RECIPES
    ],
)
def test_recipe_reaches_its_floor(recipe, data_dir, monkeypatch):
    monkeypatch.setenv("DLKIT_DATA_DIR", str(data_dir))
    median, each, _ = accuracy.measure(recipe)
    assert median >= recipe.floor, each


def test_the_readme_shows_the_recipes():
    readme = (Path(__file__).resolve().parents[1] / "README.md").read_text()
    for recipe in accuracy.RECIPES:
        assert f"`dlkit train {recipe.options}`".replace(" `", "`") in readme, recipe.name
