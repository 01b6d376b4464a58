"""The contract of the trackers holds with the oldest MLflow that the package promises, too."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OLDEST = ROOT / ".venv" / "oldest"
CLASSES = "OnSqlite or OnBulkServer"


@pytest.mark.integration
def test_the_contract_with_the_oldest_mlflow() -> None:
    """In bulk into its tables, and through its server with the route."""
    if not OLDEST.is_dir():
        pytest.skip("no MLflow in .venv/oldest: `make test` puts it there")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (promised,) = [d for d in project["dependencies"] if d.startswith("mlflow>=")]
    (found,) = metadata.distributions(name="mlflow", path=[str(OLDEST)])
    assert found.version.startswith(promised.removeprefix("mlflow>="))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider"),
            *("-k", CLASSES, "tests/tracking/test_contract.py"),
        ],
        cwd=ROOT,
        env={**kept, "PYTHONPATH": os.pathsep.join([str(OLDEST), kept.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        check=False,
        timeout=540,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    told = re.search(r"^(\d+) passed", done.stdout, re.MULTILINE)
    assert told is not None
    assert int(told[1]) >= 2 * 10
