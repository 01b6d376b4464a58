"""Descriptions of objects: plain, stable, of what decides a forecast."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from daskcast.described import described


class Plain:
    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha
        self._hidden = object()
        self.fitted_ = object()


@dataclass
class Data:
    inner: Plain
    names: tuple[str, ...] = ("a",)


class Nested(BaseEstimator):
    def __init__(self, inner: object = None, f: object = max) -> None:
        self.inner = inner
        self.f = f


def test_parameters_are_told_and_nothing_else() -> None:
    """Attributes, fields and parameters, through any depth; not what a fit leaves behind."""
    here = Plain.__module__
    plain = {"class": f"{here}:Plain", "alpha": 2.0}
    assert described(Plain(2.0)) == plain
    assert described(Data(Plain(2.0))) == {"class": f"{here}:Data", "inner": plain, "names": ["a"]}
    nested = described(Nested(Nested(Plain(2.0))))
    assert nested["inner"]["inner"] == plain
    assert nested["f"] == "builtins:max"


def test_descriptions_are_json() -> None:
    """Arrays, scalars of numpy, sets and pipelines too."""
    given = {
        "array": np.arange(3.0), "one": np.int64(3), "set": {"b", "a"}, "type": Plain,
        "pipe": make_pipeline(StandardScaler()), "lambda": lambda x: x,
    }  # fmt: skip
    found = described(given)
    assert json.loads(json.dumps(found)) == found
    assert (found["one"], found["set"]) == (3, ["a", "b"])
    assert described(np.arange(3.0)) != described(np.arange(3.0) + 1)


def test_two_processes_describe_alike() -> None:
    """Neither addresses nor hashing go in."""
    code = (
        "from daskcast.described import described\n"
        "class A:\n"
        "    def __init__(self): self.s = {'x', 'y', 'z'}; self.o = object(); self.f = lambda: 1\n"
        "print(described(A()))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, check=True,
            capture_output=True, text=True, timeout=60,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(said) == 1
