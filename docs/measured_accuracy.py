"""Tables of the accuracy benchmark, from what bench/accuracy.py wrote to bench/results."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from measured import NOT_MEASURED, as_table, made_by, result_of

Sides = dict[str, dict[str, Any]]

OURS, PORTFOLIO, MEDIAN = "daskcast", "daskcast_portfolio", "median4"
METHODS = {
    OURS: "**daskcast**, default",
    PORTFOLIO: "**daskcast**, `portfolio`",
    MEDIAN: "median of ETS, DOT, CES, ARIMA",
}
DATASETS = {
    "m1_monthly": "M1, monthly",
    "m1_quarterly": "M1, quarterly",
    "m1_yearly": "M1, yearly",
    "aai": "Indian airports, to February 2020",
    "aai_2020s": "Indian airports, 2021 to 2023",
    "new_york": "New York airports",
    "flights": "daily departures",
}
MEASURES = {
    "mase": "MASE",
    "smape": "sMAPE",
    "coverage_80": "80 % covers",
    "coverage_95": "95 % covers",
    "msis_80": "MSIS 80",
    "msis_95": "MSIS 95",
}
#: What the coverage of each level must be, by data set.
COVERAGE = {
    "m1_monthly": {80: (77, 83), 95: (92.5, 97.5)},
    "m1_quarterly": {80: (77, 83), 95: (92.5, 97.5)},
    "aai": {80: (75, 85), 95: (91, 98)},
}
#: How many of the six errors on M1 must be below the median's, and how far above one may be.
MOST_BELOW, WORST = 5, 1.01
COMMAND = "make bench-accuracy"


def results() -> dict[str, Any] | None:
    """Give the last results, None where there are none of this form."""
    result = result_of("accuracy")
    return result if result and "datasets" in result else None


def sides_of(dataset: str) -> Sides:
    """Give the sides of one data set, none where it was not measured."""
    result = results()
    sides: Sides = result["datasets"].get(dataset, {}).get("sides", {}) if result else {}
    return sides


def measured_on() -> str:
    """Tell when, where and with which versions."""
    result = results()
    if result is None:
        return NOT_MEASURED
    names = ("python", "daskcast", "numpy", "numba", "scikit-optimize", "statsforecast")
    versions = ", ".join(f"{name} {result['versions'][name]}" for name in names)
    return f"{made_by(result, COMMAND)} Versions: {versions}."


def table(dataset: str) -> str:
    """Give all methods on one data set; the lowest error and the lowest score are bold."""
    sides = sides_of(dataset)
    if not sides:
        return NOT_MEASURED
    best = {name: _lowest(sides, name) for name in MEASURES if not name.startswith("coverage")}
    lines = [
        [
            METHODS.get(side, side),
            *(_cell(name, scores.get(name), best=best.get(name) == side) for name in MEASURES),
            *(_ms(scores[name]) for name in ("cpu_ms", "cpu_point_ms")),
        ]
        for side, scores in sides.items()
    ]
    head = [_size(dataset), *MEASURES.values(), "CPU", "CPU, points alone"]
    return as_table(head, lines)


def halves(dataset: str) -> str:
    """Give the errors on each half of a data set."""
    sides = sides_of(dataset)
    if not sides:
        return NOT_MEASURED
    kinds = [*next(iter(sides.values()))["halves"]]
    lines = [
        [
            METHODS.get(side, side),
            *(
                _cell(name, scores["halves"][half].get(name))
                for half in kinds
                for name in ("mase", "smape", "coverage_80", "coverage_95")
            ),
        ]
        for side, scores in sides.items()
    ]
    shown = ("MASE", "sMAPE", "80 %", "95 %")
    return as_table(["method", *(f"{half}: {name}" for half in kinds for name in shown)], lines)


def summary() -> str:
    """Give the short table for the page on the method: ours, the median and AutoETS on M1."""
    lines = []
    for dataset in ("m1_monthly", "m1_quarterly", "m1_yearly"):
        sides = sides_of(dataset)
        if not sides:
            return NOT_MEASURED
        for side in (OURS, PORTFOLIO, MEDIAN, "AutoETS"):
            names = ("mase", "smape", "coverage_80", "coverage_95")
            cells = [_cell(name, sides[side].get(name)) for name in names]
            lines.append([DATASETS[dataset], METHODS.get(side, side), *cells])
    return as_table(["data", "method", "MASE", "sMAPE", "80 % covers", "95 % covers"], lines)


def winners() -> str:
    """Tell for each data set which method has the lowest error, and our place."""
    lines = []
    for dataset, name in DATASETS.items():
        sides = sides_of(dataset)
        if not sides:
            lines.append([name, *["not measured"] * 5])
            continue
        lowest = [_winner(sides, measure) for measure in ("mase", "smape", "msis_80", "msis_95")]
        place = sorted(sides, key=lambda side: sides[side]["mase"]["mean"]).index(OURS) + 1
        lines.append([name, *lowest, f"{place} of {len(sides)}"])
    head = ["lowest", "MASE", "sMAPE", "MSIS 80", "MSIS 95", "place of the default in MASE"]
    return as_table(head, lines)


def bars() -> str:
    """Give each bar, what was found and whether it is met."""
    if results() is None:
        return NOT_MEASURED
    lines = [*_median_bars(), *_airport_bars(), *_interval_bars(), *_cost_bars()]
    return as_table(["bar", "found", "must be", "met"], lines)


def _median_bars() -> Iterator[list[str]]:
    """Compare the six errors on M1 with those of the median."""
    ratios = []
    for dataset in ("m1_monthly", "m1_quarterly", "m1_yearly"):
        sides = sides_of(dataset)
        for name in ("mase", "smape") if sides else ():
            mine, reference = (sides[side][name]["mean"] for side in (OURS, MEDIAN))
            ratios.append(mine / reference)
            what = f"{MEASURES[name]}, {DATASETS[dataset]}"
            yield [what, _number(name, mine), f"< {_number(name, reference)}", _met(ratios[-1] < 1)]
    below, worst = sum(ratio < 1 for ratio in ratios), max(ratios, default=0.0)
    rule = f"{below}, the worst at {100 * worst - 100:+.1f} %"
    met = below >= MOST_BELOW and worst <= WORST
    yield ["of these six below the median", rule, f"{MOST_BELOW}, none above +1 %", _met(met)]


def _airport_bars() -> Iterator[list[str]]:
    sides = sides_of("aai")
    parts = [("", sides)]
    parts += [
        (f", {half}", {side: scores["halves"][half] for side, scores in sides.items()})
        for half in (sides[OURS]["halves"] if sides else ())
    ]
    for part, of in parts if sides else ():
        for peer in ("AutoETS", MEDIAN):
            mine, theirs = (of[side]["mase"]["mean"] for side in (OURS, peer))
            what = f"MASE, Indian airports{part}, against {METHODS.get(peer, peer)}"
            yield [what, _number("mase", mine), f"< {theirs:.3f}", _met(mine < theirs)]


def _interval_bars() -> Iterator[list[str]]:
    for dataset, levels in COVERAGE.items():
        sides = sides_of(dataset)
        for level, (low, high) in levels.items() if sides else ():
            covered = sides[OURS][f"coverage_{level}"]["mean"]
            what = f"{level} % covers, {DATASETS[dataset]}"
            yield [what, f"{covered:.1f} %", f"{low} to {high} %", _met(low <= covered <= high)]
        for level in levels if sides else ():
            mine, theirs = (sides[side][f"msis_{level}"]["mean"] for side in (OURS, "AutoETS"))
            what = f"MSIS {level}, {DATASETS[dataset]}, against AutoETS"
            yield [what, f"{mine:.2f}", f"< {theirs:.2f}", _met(mine < theirs)]


def _cost_bars() -> Iterator[list[str]]:
    """Take the cost from the benchmark of speed, where the sides take turns."""
    speed = result_of("speed")
    for side, most in (("skopt", 0.5), ("portfolio", 0.2)) if speed else ():
        ratio = speed[f"{side}_to_autoets"] if speed else 0.0
        what = f"CPU, `{side}`, against AutoETS ([speed](method.md#what-it-costs-and-brings))"
        yield [what, f"{ratio:.2f}", f"<= {most}", _met(ratio <= most)]


def _met(yes: bool) -> str:
    return "yes" if yes else "**no**"


def _lowest(sides: Sides, name: str) -> str:
    there = {side: scores[name]["mean"] for side, scores in sides.items() if name in scores}
    return min(there, key=lambda side: there[side])


def _winner(sides: Sides, name: str) -> str:
    best = _lowest(sides, name)
    return f"{METHODS.get(best, best)} {_number(name, sides[best][name]['mean'])}"


def _number(name: str, mean: float) -> str:
    return f"{mean:.3f}" if name == "mase" else f"{mean:.2f}"


def _cell(name: str, score: dict[str, Any] | None, *, best: bool = False) -> str:
    """Give a mean, and on how many series it stands where that is not all of them."""
    if score is None or score["mean"] is None:
        return "-"
    text = f"{score['mean']:.1f} %" if name.startswith("cov") else _number(name, score["mean"])
    text = f"**{text}**" if best else text
    whole = score["n_ok"] == score["n_total"]
    return text if whole else f"{text} ({score['n_ok']} / {score['n_total']})"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f} ms" if value < 1 else f"{value:,.1f} ms"


def _size(dataset: str) -> str:
    result = results()
    of = result["datasets"][dataset] if result else {}
    windows = of["n_series"] // of["n_entities"]
    what = f"{of['n_series']} series" if windows == 1 else f"{of['n_entities']} x {windows} windows"
    return f"{what}, h {of['h']}, season {of['season']}"
