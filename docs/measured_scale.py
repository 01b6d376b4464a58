"""Tables of the page on scale, from what bench/scale.py, tail.py and simulate.py wrote."""

from __future__ import annotations

from typing import Any

from measured import NOT_MEASURED, as_table, made_by, result_of

Row = dict[str, Any]

#: What is estimated on paper, in entities.
SIZES = (100_000, 1_000_000, 100_000_000)
BATCH = 200
HOUR = 3600
STAGES = ("read", "cluster", "warm-up", "work", "report", "tracking")
BARS = {
    "client_us": "driver and scheduler, CPU an entity",
    "client_memory_ratio": "memory of the client, 100,000 against 10,000",
    "time_ratio": "time, 100,000 against ten times 10,000",
}


def rows_of(kind: str) -> list[Row]:
    """Give the rows of one kind of run, by size."""
    found = result_of("scale")
    rows: list[Row] = found["runs"].get(kind, []) if found else []
    return rows


def kinds() -> list[str]:
    """Name the kinds of runs that were measured."""
    found = result_of("scale")
    return list(found["runs"]) if found else []


def runs() -> str:
    """Give the table of time and memory by kind of run and size."""
    found = result_of("scale")
    if found is None:
        return NOT_MEASURED
    rows = [
        [
            kind if row is of_kind[0] else "",
            f"{row['entities']:,}",
            f"{row['wall_s']:,.0f} s",
            f"{row['workers_cpu_s']:,.0f} s",
            f"{row['client_cpu_s']:,.1f} s",
            f"{row['client_peak_mb']:,.0f} MB",
            f"{row['worker_peak_mb']:,.0f} MB",
            f"{row['run_mb']:,.1f} MB",
        ]
        for kind, of_kind in found["runs"].items()
        for row in of_kind
    ]
    head = ["fits, tracking", "entities", "time", "CPU of workers", "CPU of client"]
    head += ["client at most", "a worker at most", "run folder"]
    return f"{as_table(head, rows)}\n\n{made_by(found, 'make bench-scale')}"


def stages() -> str:
    """Give the table of CPU by stage: of the client, and of the workers by their own."""
    lines = []
    for kind in kinds():
        for row in rows_of(kind):
            spent = row["seconds"]
            client = [f"{spent[s]['cpu']:,.1f}" if s in spent else "-" for s in STAGES]
            work = [f"{spent['workers'].get(s, 0.0):,.1f}" for s in ("read", "fit", "store")]
            lines.append([f"{kind}, {row['entities']:,}", *client, *work])
    if not lines:
        return NOT_MEASURED
    return as_table(["CPU seconds", *STAGES, "workers: read", "fit", "store"], lines)


def driver() -> tuple[float, float]:
    """Give microseconds of driver and scheduler for an entity in batches of 250, and for a batch.

    A batch is told from an entity by the same run in smaller batches.
    """
    large = rows_of("ready-made, batches of 250, tracking none")
    small = rows_of("ready-made, batches of 25, tracking none")
    if len(large) <= 1:
        return 0.0, 0.0
    few, many = large[-2], large[-1]
    each = (many["client_cpu_s"] - few["client_cpu_s"]) / (many["entities"] - few["entities"])
    both = [(a, b) for a in large for b in small if a["entities"] == b["entities"]]
    batch = 0.0
    for a, b in both:
        n = b["counts"]["batches"] - a["counts"]["batches"]
        batch = (b["client_cpu_s"] - a["client_cpu_s"]) / n
    return 1e6 * each, 1e6 * batch


def told_driver() -> str:
    """Say what driver and scheduler cost."""
    each, batch = driver()
    if not each:
        return NOT_MEASURED
    told = f"**{each:.0f} microseconds of CPU an entity** (bar: 150)"
    return (
        f"{told}, most of it for batches: about {batch / 1000:.0f} ms a batch."
        if batch
        else f"{told}."
    )


def entity_s() -> float:
    """Give the CPU seconds of a worker for one entity, portfolio search."""
    rows = rows_of("portfolio, tracking none")
    if not rows:
        return 0.0
    return sum(rows[-1]["seconds"]["workers"].values()) / int(rows[-1]["entities"])


def cores() -> str:
    """Work out how many cores one driver feeds."""
    each, cost = driver()[0] / 1e6, entity_s()
    if not each or not cost:
        return NOT_MEASURED
    return (
        f"{1000 * cost:.1f} ms / {1e6 * each:.0f} microseconds = {cost / each:,.0f} cores; "
        f"with the driver half busy {cost / each / 2:,.0f}"
    )


def paper() -> str:
    """Give the table of what large runs need, from the measured figures."""
    cost = entity_s()
    rows = rows_of("ready-made, batches of 250, tracking none")
    real = rows_of("portfolio, tracking none")
    if not cost or len(rows) <= 1:
        return NOT_MEASURED
    few, many = rows[-2], rows[-1]
    n_more = many["entities"] - few["entities"]
    kb = 1024 * (many["client_peak_mb"] - few["client_peak_mb"]) / n_more
    base = many["client_peak_mb"] - kb * many["entities"] / 1024
    disk_kb = 1024 * real[-1]["run_mb"] / real[-1]["entities"]
    lines = []
    for n in SIZES:
        hours = n * cost / HOUR
        n_batches = n / BATCH
        lines.append(
            [
                f"{n:,}",
                f"{hours:,.1f} h",
                f"{hours / 64:,.2f} h",
                f"{n * driver()[0] / 1e6 / HOUR:,.2f} h",
                f"{(base + kb * n / 1024) / 1024:,.1f} GB",
                f"{disk_kb * n / 2**20:,.1f} GB",
                f"{5 * n_batches:,.0f}",
                f"{n + 1:,}",
            ]
        )
    head = ["entities", "CPU of workers", "on 64 cores", "CPU of driver", "memory of client"]
    head += ["run folder", "files", "MLflow runs"]
    return as_table(head, lines)


def bars() -> str:
    """Give the bars of scale and what was measured."""
    each = driver()[0]
    lines = [[BARS["client_us"], f"{each:.0f}", "< 150"]] if each else []
    for kind in kinds():
        sizes = {row["entities"]: row for row in rows_of(kind)}
        if not {10_000, 100_000} <= sizes.keys() or "batches of 25," in kind:
            continue
        few, many = sizes[10_000], sizes[100_000]
        ratio = many["client_peak_mb"] / few["client_peak_mb"]
        lines.append([f"{BARS['client_memory_ratio']} ({kind})", f"{ratio:.2f}", "<= 1.20"])
        if kind.startswith("portfolio"):
            time = many["wall_s"] / (10 * few["wall_s"])
            lines.append([f"{BARS['time_ratio']} ({kind})", f"{time:.2f}", "<= 1.10"])
    found = result_of("tail")
    if found is not None:
        for kind in ("sorted", "slow"):
            if kind in found["by"]:
                idle = f"{100 * found['by'][kind]['idle']:.1f} %"
                lines.append([f"idle at the end, {kind}", idle, "< 5 %"])
        if "efficiency_of_two" in found:
            lines.append(["one worker to two", f"{found['efficiency_of_two']:.2f}", ">= 0.90"])
    return as_table(["what", "measured", "bar"], lines) if lines else NOT_MEASURED


def tail() -> str:
    """Give the table of bench/tail.py."""
    found = result_of("tail")
    if found is None:
        return NOT_MEASURED
    told = {
        "sorted": "36 to 960 months, the longest last",
        "slow": "every hundredth entity thirty times as slow",
        "even": "all alike",
        "one": "all alike, one worker",
    }
    rows = [
        [
            told[kind],
            f"{row['work_s']:.1f} s",
            f"{100 * row['idle']:.1f} %",
            f"{100 * row['busy']:.1f} %",
            f"{row['batches']:.0f}",
        ]
        for kind, row in found["by"].items()
    ]
    head = [f"{found['entities']:,} entities, two workers", "work", "idle at the end", "busy"]
    table = as_table([*head, "batches"], rows)
    return f"{table}\n\nMedian of {len(next(iter(found['passes'].values())))}. " + made_by(
        found, "python bench/tail.py"
    )


def simulated(part: str, columns: dict[str, str]) -> str:
    """Give a table of bench/simulate.py."""
    found = result_of("simulate")
    if found is None:
        return NOT_MEASURED
    rows = [[_cell(name, row[name]) for name in columns] for row in found[part]]
    return as_table(list(columns.values()), rows)


def simulated_tails() -> str:
    """Give what batches that shrink bring."""
    columns = {"n_workers": "workers", "slow": "very slow entities", "batches_are": "batches"}
    return simulated("tails", columns | {"idle": "idle at the end", "efficiency": "efficiency"})


def simulated_cores() -> str:
    """Give the efficiency by number of workers."""
    columns = {"n_workers": "workers", "work_s": "work", "driver_busy": "driver busy"}
    return simulated("cores", columns | {"efficiency": "efficiency"})


def simulated_deaths() -> str:
    """Give what deaths cost."""
    columns = {"life_s": "a worker lives", "deaths": "deaths", "done_twice": "work done twice"}
    return simulated("deaths", columns | {"work_s": "work", "efficiency": "efficiency"})


def _cell(name: str, value: Any) -> str:
    if name in {"slow", "idle", "efficiency", "driver_busy", "done_twice"}:
        return f"{100 * value:.1f} %"
    if name in {"work_s", "life_s"}:
        return f"{value:,.0f} s"
    return f"{value:,.0f}" if isinstance(value, int | float) else str(value)
