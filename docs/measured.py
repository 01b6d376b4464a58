"""Tables of the documentation, from what the benchmarks wrote to bench/results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent.parent / "bench" / "results"
#: the rule of bench/blends.py that is the package's own
DEFAULT = "the blend of the three"
NOT_MEASURED = "It has not been measured for this release."
SIDES = {
    "daskcast_skopt": "daskcast, default (`skopt`, 24 trials)",
    "daskcast_portfolio": "daskcast, `portfolio`",
    "autoets": "statsforecast AutoETS",
    "literal": "`gp_minimize`, 24 calls, around statsmodels Holt-Winters",
}


def result_of(name: str) -> dict[str, Any] | None:
    """Read what a benchmark wrote, None where it was not run."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def as_table(head: list[str], rows: list[list[str]]) -> str:
    """Write a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def made_by(found: dict[str, Any], command: str) -> str:
    """Say what made a figure, when and on which machine."""
    machine = found["machine"]
    return (
        f"Measured by `{command}` on {found['measured'][:10]}: {machine['cores']} cores "
        f"({machine['cpu']}), commit {found['commit']}."
    )


def speed() -> str:
    """Give the table of bench/speed.py: CPU time for one series, and ratios to AutoETS."""
    found = result_of("speed")
    if found is None:
        return NOT_MEASURED
    peer = found["median_ms"]["autoets"]
    rows = [
        [SIDES[side], f"{ms:,.1f} ms", f"{ms / peer:.3f}"]
        for side, ms in found["median_ms"].items()
    ]
    table = as_table(["one of 617 monthly series of M1", "CPU", "against AutoETS"], rows)
    return f"{table}\n\n{made_by(found, 'make bench BENCH=speed')}"


def weights() -> str:
    """Give the table of bench/weights.py: errors on M1 by rule of weighting."""
    found = result_of("weights")
    if found is None:
        return NOT_MEASURED
    kinds = ("monthly", "quarterly", "yearly")
    rows = [
        [
            rule,
            *(
                f"{found[kind][rule]['mase']:.3f}, {found[kind][rule]['smape']:.2f}"
                for kind in kinds
            ),
        ]
        for rule in found["monthly"]
    ]
    table = as_table(["MASE, sMAPE on M1", *kinds], rows)
    return f"{table}\n\n{made_by(found, 'make bench BENCH=weights')}"


def overhead() -> str:
    """Give the sentence of bench/overhead.py: what is not fitting costs."""
    found = result_of("overhead")
    if found is None:
        return NOT_MEASURED
    n, run = max(((int(n), run) for n, run in found["runs"].items()), key=lambda pair: pair[0])
    return (
        f"The whole command on {n:,} made-up airports of 120 months, two workers, no tracking: "
        f"{run['fit_s']:.1f} s of CPU for fitting and searching; all else "
        f"{found['rest_ms_per_entity']:.2f} ms an entity and {found['rest_once_s']:.1f} s once. "
        f"{made_by(found, 'make bench BENCH=overhead')}"
    )


def executors() -> str:
    """Give the table of bench/executors.py, as it was last measured."""
    found = result_of("executors")
    if found is None:
        return NOT_MEASURED
    few, many, machine = found["few"], found["many"], found["machine"]
    lines = [
        f"| rung | executor | {few} airports | {many} airports | CPU, {many} airports | speed-up |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in found["rows"]:
        name = f"`{row['executor']}`"
        if row["executor"] != "serial":
            name += f" {row['workers']} x {row['threads']}"
        seconds = [row[f"wall_s_{few}"], row[f"wall_s_{many}"], row[f"cpu_s_{many}"]]
        cells = [row["rung"], name, *(f"{x:.1f} s" for x in seconds), f"{row['speedup']:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    about = (
        f"Wall seconds of the whole command, imports included, without tracking, the best of "
        f"{found['passes']} passes in turn: "
        f"{machine['cores']} cores ({machine['cpu']}), commit {found['commit']}."
    )
    return "\n".join([*lines, "", about])


def families() -> str:
    """Give the table of bench/families.py: what each family costs, and its errors on few series."""
    found = result_of("families")
    if found is None:
        return NOT_MEASURED
    by = found["by"]
    rows = [
        [
            f"`{name}`",
            *(f"{by[f'{name}, {search}']['ms']:,.0f} ms" for search in ("portfolio", "skopt")),
            f"{by[f'{name}, skopt']['mase']:.2f}, {by[f'{name}, skopt']['smape']:.1f}",
        ]
        for name in dict.fromkeys(key.partition(",")[0] for key in by)
    ]
    head = ["alone", "CPU a series, `portfolio`", "default (24 trials)", "MASE, sMAPE"]
    about = made_by(found, "make bench BENCH=families")
    return f"{as_table(head, rows)}\n\n{found['n']} monthly series of M1. {about}"


def inflation() -> str:
    """Give the table of bench/inflation.py: what intervals cover before and after widening."""
    found = result_of("inflation")
    if found is None:
        return NOT_MEASURED
    rows = [
        [
            period,
            *(
                " and ".join(f"{x:.1f}" for x in found[period][kind]) + " %"
                for kind in ("coverage_of_normal", "coverage", "coverage_cross_fitted")
            ),
            "{:g}; {:g} * step ** {:g}".format(*found[period]["constants"]),
        ]
        for period in ("monthly", "quarterly", "yearly")
    ]
    head = ["80 and 95 % cover", "normal", "widened", "cross-fitted", "degrees; scale"]
    return f"{as_table(head, rows)}\n\n{made_by(found, 'make bench BENCH=inflation')}"


def level_shift() -> str:
    """Give the table of bench/level_shift.py: MASE by how much of the past is used."""
    found = result_of("level_shift")
    if found is None:
        return NOT_MEASURED
    sets = [name for name, value in found.items() if isinstance(value, dict) and "whole" in value]
    rows = [[rule, *(f"{found[name][rule]:.3f}" for name in sets)] for rule in found[sets[0]]]
    table = as_table(["MASE", *sets], rows)
    return f"{table}\n\n{made_by(found, 'make bench BENCH=level_shift')}"


def blends() -> str:
    """Give the table of bench/blends.py: errors by how families are put together."""
    found = result_of("blends")
    if found is None:
        return NOT_MEASURED
    sets = [name for name, value in found.items() if isinstance(value, dict) and DEFAULT in value]
    rows = [
        [
            rule,
            *(
                f"{found[name][rule]['mase']:.3f}, {found[name][rule]['smape']:.2f}"
                for name in sets
            ),
        ]
        for rule in found[sets[0]]
    ]
    table = as_table(["MASE, sMAPE", *sets], rows)
    return f"{table}\n\n{made_by(found, 'make bench BENCH=blends')}"


def search() -> str:
    """Give the table of bench/search.py: a model of one's own, by portfolio and by skopt."""
    found = result_of("search")
    if found is None:
        return NOT_MEASURED
    rows = [
        [name, f"{one['mase']:.3f}", f"{one['ms']:.0f} ms"] for name, one in found["by"].items()
    ]
    table = as_table(["103 monthly series of M1", "MASE", "CPU a series"], rows)
    return f"{table}\n\n{made_by(found, 'make bench BENCH=search')}"
