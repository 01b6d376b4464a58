"""CPU time for one series: daskcast, statsforecast's AutoETS, and the idea taken literally.

One core, the monthly series of M1, all sides warm, one thread for numeric libraries. The sides take
turns; the figure is the median of the passes. Usage: speed.py [--passes 5] [--series N]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

from common import m1, write_result
from peers import Side, peer_python

N_LITERAL = 10


def main() -> None:
    """Measure, and write bench/results/speed.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--series", type=int, default=617)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        path = Path(folder) / "m1.npz"
        m1("monthly").save(path)
        enter, n = stack.enter_context, options.series
        sides = {
            "daskcast_skopt": enter(Side("side_daskcast.py", path, "skopt", n)),
            "daskcast_portfolio": enter(Side("side_daskcast.py", path, "portfolio", n)),
            "autoets": enter(Side("side_statsforecast.py", path, n, python=peer_python())),
            "literal": enter(Side("side_skopt.py", path, N_LITERAL)),
        }
        ms: dict[str, list[float]] = {name: [] for name in sides}
        for i in range(options.passes):
            for name, side in sides.items():
                if name == "literal" and i > 0:
                    continue  # minutes for a figure that is far away from the others
                took = side.ask()
                ms[name].append(round(1000 * took["cpu_s"] / took["n"], 3))
                print(f"pass {i + 1}, {name}: {ms[name][-1]} ms of CPU for one series")
        versions = {name: side.about["versions"] for name, side in sides.items()}
    median = {name: statistics.median(values) for name, values in ms.items()}
    write_result(
        "speed",
        {
            "what": "CPU milliseconds for one series, M1 monthly, median of the passes",
            "n_series": options.series,
            "median_ms": median,
            "skopt_to_autoets": round(median["daskcast_skopt"] / median["autoets"], 4),
            "portfolio_to_autoets": round(median["daskcast_portfolio"] / median["autoets"], 4),
            "literal_to_skopt": round(median["literal"] / median["daskcast_skopt"], 1),
            "passes_ms": ms,
        },
        versions_of_sides=versions,
    )


if __name__ == "__main__":
    main()
