"""A new SQLite store: whole or not at all."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from daskcast.testing.trackers import parent_of
from daskcast.tracking.mlflow_client import MlflowTracker
from daskcast.tracking.new_store import make_whole

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")

OPENS = """
import sys
from daskcast.testing.trackers import parent_of
from daskcast.tracking.mlflow_client import MlflowTracker
tracker = MlflowTracker(sys.argv[1])
print("begins", flush=True)
tracker.start(parent_of())
"""


def schema(path: Path) -> list[Any]:
    """Read tables with their columns, keys and indexes; the order of constraints is by chance."""
    with closing(sqlite3.connect(path)) as store:
        found = store.execute("SELECT type, name FROM sqlite_master ORDER BY name").fetchall()
        for _, name in [row for row in found if row[0] == "table"]:
            found += store.execute("SELECT * FROM pragma_table_info(?)", [name]).fetchall()
            keys = 'SELECT "table", "from", "to", on_delete FROM pragma_foreign_key_list(?)'
            found += sorted(store.execute(keys, [name]).fetchall())
        found += store.execute("SELECT * FROM alembic_version").fetchall()
        found += store.execute("SELECT name, artifact_location FROM experiments").fetchall()
        return found


def test_it_is_what_mlflow_makes(tmp_path: Path) -> None:
    """The same tables, version and default experiment as those of MLflow's own steps."""
    MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'theirs.db'}").search_experiments()
    make_whole(f"sqlite:///{tmp_path / 'ours.db'}")
    assert schema(tmp_path / "ours.db") == schema(tmp_path / "theirs.db")


def test_a_store_that_exists_is_left_alone(tmp_path: Path) -> None:
    """Nothing of it changes, not a byte."""
    place = tmp_path / "mlflow.db"
    make_whole(f"sqlite:///{place}")
    MlflowTracker(f"sqlite:///{place}").start(parent_of())
    before = place.read_bytes()
    make_whole(f"sqlite:///{place}")
    assert place.read_bytes() == before


def test_several_at_once_make_one(tmp_path: Path) -> None:
    """Whoever is first makes it; the others find it made."""
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    command = [sys.executable, "-W", "ignore", "-c", OPENS, uri]
    with ThreadPoolExecutor(3) as pool:
        ended = list(pool.map(lambda _: subprocess.run(command, check=False).returncode, range(3)))
    assert ended == [0, 0, 0]
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as store:
        assert store.execute("SELECT count(*) FROM runs").fetchone() == (3,)


@pytest.mark.integration
def test_killed_at_any_moment_it_can_still_be_opened(tmp_path: Path) -> None:
    """SIGKILL while the store is made leaves one that is made anew, or that is there."""
    for i in range(4):
        uri = f"sqlite:///{tmp_path / f'{i}.db'}"
        command = [sys.executable, "-W", "ignore", "-c", OPENS, uri]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline()
            time.sleep(i)
            process.kill()
        run_id = MlflowTracker(uri).start(parent_of())
        assert MlflowClient(tracking_uri=uri).get_run(run_id).info.status == "RUNNING"
