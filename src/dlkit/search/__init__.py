"""Searching for good hyperparameters: many short trainings, and a record of each that survives a crash.

space.py    what is varied: ranges and choices, read from TOML
plan.py     which values are tried: drawn, on a grid, or drawn again around the best
study.py    the folder: what was asked for, what was found, who is at work (Optuna's SQLite storage)
worker.py   takes one trial after the other and trains it
result.py   what came of it: table, csv, best.toml, pictures
run.py      all of these together
"""

from dlkit.search.run import SearchResult, search
from dlkit.search.space import Space
from dlkit.search.study import Definition

__all__ = ["Definition", "SearchResult", "Space", "search"]
