"""What an import costs."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

HEAVY = {"pandas", "numpy", "dask", "distributed", "mlflow", "numba", "skopt", "pyarrow", "sklearn"}


def loaded(statement: str) -> set[str]:
    """Give the top-level modules that a fresh interpreter has after a statement."""
    code = f"{statement}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import daskcast",
        "import daskcast.cli",
        "from daskcast import ForecastConfig, ConfigError",
        "import daskcast.cli\ntry:\n daskcast.cli.main(['run', '--help'])\nexcept SystemExit: pass",
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(statement: str) -> None:
    """The package, its command line and its options import none of the heavy libraries."""
    assert not loaded(statement) & HEAVY


def test_the_driver_of_a_cluster_imports_no_tuner() -> None:
    """What only workers need is not imported by the library call's own module."""
    assert not loaded("import daskcast.api") & {"skopt", "numba", "sklearn", "mlflow"}


def test_help_answers_at_once() -> None:
    """The best of a few runs stays under 0.3 seconds."""
    command = Path(sys.executable).with_name("daskcast")

    def seconds() -> float:
        start = time.perf_counter()
        subprocess.run([command, "--help"], capture_output=True, check=True, timeout=60)
        return time.perf_counter() - start

    assert min(seconds() for _ in range(5)) < 0.3
