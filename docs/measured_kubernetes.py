"""Figures of the page on Kubernetes: bench/image.py."""

from __future__ import annotations

from measured import NOT_MEASURED, result_of


def image() -> str:
    """Tell size and start of the images."""
    found = result_of("image")
    if found is None:
        return NOT_MEASURED
    worker, server, first = found["worker"], found["server"], found["first_answer"]
    return (
        f"The first takes {worker['mb']:,} MB ({worker['gzip_mb']:,} MB to pull), MLflow's "
        f"{server['mb']:,} MB ({server['gzip_mb']:,} MB). A worker answered its first task, a fit, "
        f"{first['median_s']:.1f} s after the start of its container (median of "
        f"{len(first['seconds'])}), with {first['kernels_compiled'][0]} kernels compiled anew "
        f"(`bench/image.py`)."
    )
