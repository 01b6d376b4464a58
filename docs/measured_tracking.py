"""Tables of the page on MLflow: bench/tracking.py, bench/serving.py, bench/exactly_once.py."""

from __future__ import annotations

from statistics import median
from typing import Any

from measured import NOT_MEASURED, as_table, made_by, result_of

WAYS = {
    "sqlite": "SQLite, in bulk",
    "postgresql": "PostgreSQL, `--tracking-bulk database`",
    "sqlite, five times the entities": "SQLite, in bulk, five times as many",
    "sqlite, a run for each trial": "SQLite, `--track-detail trial`",
    "fluent": "the same SQLite, the fluent API, a call for each value",
}
FAULTS = {
    "none": "nothing",
    "lost": "one of twenty answers lost",
    "429": "one of ten requests answered 429",
    "killed": "the server (or the database) killed twice",
    "driver": "the driver killed ten times",
    "disk": "the disk of the run folder full",
    "two": "two `daskcast track` at once",
}


def stores() -> str:
    """Give the table of bench/tracking.py."""
    found = result_of("tracking")
    if found is None:
        return NOT_MEASURED
    rows = [
        [
            told,
            f"{row['runs']:,}",
            f"{row['seconds']:,.1f} s",
            f"{row['runs_per_s']:,.0f}",
            f"{row['peak_mb']:,.0f} MB" if "peak_mb" in row else "",
        ]
        for name, told in WAYS.items()
        if (row := found.get(name))
    ]
    head = ["store", "runs", "time", "runs a second", "memory at most"]
    made = made_by(found, "python bench/tracking.py")
    return (
        f"{as_table(head, rows)}\n\nAgainst the fluent API: {found['times_the_fluent_rate']} times "
        f"as many a second. {made}"
    )


def server() -> str:
    """Give the table of bench/serving.py."""
    found = result_of("serving")
    if found is None:
        return NOT_MEASURED
    plain = [name for name in found if name.endswith(" in flight")]
    ways = {
        "bulk": "many in a request",
        "paced": "three requests each, at the pace of daskcast",
        **{name: f"three requests each, {name}" for name in plain},
    }
    waits = found["second_client_p95_times_idle"]
    rows = [
        [
            told,
            f"{_of(found[name], 'runs_per_s'):,.1f}",
            f"{_of(found[name], 'server_ms_a_run'):,.2f} ms",
            f"{_of(found[name], 'requests_an_entity'):,.3f}",
            f"{waits[name]:.1f} times",
        ]
        for name, told in ways.items()
    ]
    head = ["way", "runs a second", "CPU of the server, a run", "requests a run"]
    head += ["a second client waits (95 %), of what it waits alone"]
    return f"{as_table(head, rows)}\n\n{made_by(found, 'python bench/serving.py')}"


def once() -> str:
    """Give the table of bench/exactly_once.py."""
    found = result_of("exactly_once")
    if found is None:
        return NOT_MEASURED
    ways = [name for name in found["ways"] if f"{name}-none" in found]
    rows = [
        [told, *(_told(found.get(f"{way}-{fault}")) for way in ways)]
        for fault, told in FAULTS.items()
    ]
    made = made_by(found, "python bench/exactly_once.py")
    return (
        f"{as_table(['fault', *ways], rows)}\n\nOf {found['entities']} entities: runs in the store "
        f"and whether each is there once with the content of an undisturbed run. {made}"
    )


def _told(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    return f"{row['children']}, {'yes' if row['exactly_once'] else 'no'}"


def _of(rows: list[dict[str, float]], name: str) -> float:
    return median(row[name] for row in rows)
