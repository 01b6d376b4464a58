"""Models of the user and of statsmodels, end to end on real workers."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import cloudpickle
import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster
from sklearn.base import BaseEstimator
from skopt.space import Real

from daskcast import ConfigError, OwnModel, Run, StoreError, demo, forecast

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import this file

H = 6


class Ridge(BaseEstimator):  # type: ignore[misc]
    """Ridge regression on trend and seasonal dummies; fails where BLAS has several threads."""

    def __init__(self, alpha: float = 1.0, power: int = 1) -> None:
        self.alpha = alpha
        self.power = power

    def _features(self, t: Any) -> Any:
        return np.column_stack([np.ones_like(t), t / 100, *(t % 12 == k for k in range(11))])

    def fit(self, y: Any, X: Any = None) -> Ridge:  # noqa: ARG002
        from threadpoolctl import threadpool_info

        threads = {i["num_threads"] for i in threadpool_info() if i["user_api"] == "blas"}
        if threads != {1}:
            raise RuntimeError(f"BLAS has {threads} threads")
        features = self._features(np.arange(float(len(y))))
        gram = features.T @ features + self.alpha * np.eye(13)
        self.coef_ = np.linalg.solve(gram, features.T @ y)
        self.n_ = len(y)
        return self

    def predict(self, h: int, X: Any = None) -> Any:  # noqa: ARG002
        return self._features(self.n_ + np.arange(float(h))) @ self.coef_


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Give eight airports, good and bad."""
    return demo.airports(8, months=72)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Start a cluster of two processes."""
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def alike(one: Run, other: Run) -> bool:
    """Tell whether two runs forecast the same to the bit."""
    pd.testing.assert_frame_equal(one.forecasts, other.forecasts, check_exact=True)
    return True


@pytest.mark.integration
def test_an_own_model_takes_part_on_a_cluster(table: pd.DataFrame, client: Client) -> None:
    """Search, blend and intervals with a model of the user are those of a serial run."""
    space = {"alpha": Real(1e-3, 1e3, prior="log-uniform"), "power": [1, 2]}
    how: dict[str, Any] = {"models": ["ets", OwnModel(Ridge(), space, name="mine")]}
    serial = forecast(table, H, cluster="serial", **how)
    assert alike(serial, forecast(table, H, client=client, batch_size=3, **how))
    trials = serial.trials
    mine = trials[trials["model"].str.startswith("mine(")]
    assert serial.entities["checks"].str.contains('"ask"').any()
    assert (mine["weight"] > 0).any()
    ets = trials[~trials["model"].str.startswith("mine(")]
    assert (ets["weight"] > 0).any()
    good = serial.entities.loc[serial.entities["status"] == "ok", "unique_id"]
    found = serial.forecasts[serial.forecasts["unique_id"].isin(good)]
    assert (found["daskcast-lo-95"] < found["daskcast-lo-80"]).all()
    assert (found["daskcast-lo-80"] < found["daskcast"]).all()


@pytest.mark.integration
def test_an_own_model_is_compared_when_a_run_goes_on(table: pd.DataFrame, tmp_path: Path) -> None:
    """A run with objects can be read, resumed with the same, and not with other parameters."""
    how: dict[str, Any] = {"out": tmp_path / "run", "cluster": "serial", "trials": 4}
    one = table[table["unique_id"] == table["unique_id"].iloc[-1]]
    first = forecast(one, H, models=Ridge(2.0), **how)
    assert alike(first, forecast(one, H, models=[Ridge(2.0)], resume=True, **how))
    with pytest.raises(StoreError, match="option models"):
        forecast(one, H, models=[Ridge(3.0)], resume=True, **how)
    described = Run.open(tmp_path / "run").config.models
    assert described == ({"class": f"{__name__}:Ridge", "alpha": 2.0, "power": 1},)
    with pytest.raises(ConfigError, match="only a description was kept"):
        forecast(one, H, models=described, cluster="serial")


@pytest.mark.integration
def test_sarimax_on_a_cluster(table: pd.DataFrame, client: Client) -> None:
    """SARIMAX forecasts on workers as it does here, to the bit, and keeps plain parameters."""
    some = table[table["unique_id"].isin(sorted(table["unique_id"].unique())[-4:])]
    how: dict[str, Any] = {"models": ("sarimax",), "trials": 3, "cv_windows": 2}
    serial = forecast(some, H, cluster="serial", **how)
    assert alike(serial, forecast(some, H, client=client, batch_size=1, **how))
    ok = serial.entities[serial.entities["status"] == "ok"]
    assert len(ok) >= 2
    assert ok["model"].str.startswith("SARIMA(").all()
    assert ok["params"].str.contains('"sigma2"').all()


@pytest.mark.integration
def test_a_class_of_the_script_works_everywhere(tmp_path: Path) -> None:
    """A class of a script or a notebook travels to any executor; BLAS has one thread in each."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
            import numpy as np
            from threadpoolctl import threadpool_info
            from daskcast import demo, forecast

            class Last:
                search_space = {"n": [1, 2, 3]}
                def __init__(self, n=1):
                    self.n = n
                def fit(self, y, X=None):
                    assert {i["num_threads"] for i in threadpool_info()} == {1}
                    self.last = np.mean(y[-self.n:])
                def predict(self, h, X=None):
                    return np.full(h, self.last)

            if __name__ == "__main__":
                table = demo.airports(6, months=40)
                for cluster in ("serial", "threads", "processes", "local"):
                    run = forecast(table, 3, models=[Last()], cluster=cluster, workers=2)
                    print(run.forecasts["daskcast"].sum(), run.counts.ok > 0)
        """)
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert len(set(done.stdout.splitlines())) == 1
    assert done.stdout.splitlines()[0].endswith("True")
    assert len(done.stdout.splitlines()) == 4


@pytest.mark.integration
def test_the_command_finds_a_model_in_the_current_folder(tmp_path: Path) -> None:
    """``--models ets,module:Class`` works on a local cluster; a wrong one is told with code 2."""
    (tmp_path / "my_models.py").write_text(
        "class Last:\n"
        "    def fit(self, y): self.last = y[-1]\n"
        "    def predict(self, h): return [self.last] * h\n"
    )
    demo.airports(6, months=40).to_csv(tmp_path / "table.csv", index=False)

    # as the installed command starts, without the current folder on the path
    entry = [sys.executable, "-P", "-c", "from daskcast.cli import main; main()"]
    flags = ["--horizon", "3", "--no-tracking", "--trials", "4", "--workers", "1", "--out", "run"]

    def run(models: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*entry, "run", "table.csv", *flags, "--models", models],
            cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip

    wrong = run("ets,my_models:Lost")
    assert wrong.returncode == 2, wrong.stderr
    assert "my_models:Lost" in wrong.stderr
    right = run("ets,my_models:Last")
    assert right.returncode in (0, 1), right.stderr
    assert (Run.open(tmp_path / "run").trials["model"] == "last").any()
