"""A password in the address of a store: used, and nowhere to be read afterwards."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from click.testing import CliRunner

from daskcast import demo
from daskcast.cli import main

# MLflow 3.17 asks SQLAlchemy 2.1 for a loader strategy that is to go.
pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning"),
]

SECRET = "s3cret-Pass"


def holders(*places: Path) -> list[str]:
    """Name the files that hold the password, as text or as it is quoted."""
    words = [SECRET.encode(), SECRET.encode("utf-16-le"), b"s3cret%2DPass"]
    return [
        str(path)
        for place in places
        for path in place.rglob("*")
        if path.is_file() and any(word in path.read_bytes() for word in words)
    ]


@pytest.mark.parametrize("bulk", ["auto", "off"], ids=["endpoint", "rest"])
@pytest.mark.parametrize("fault", [None, 403, "drop"])
def test_nothing_holds_the_password(
    bulk, fault, bulk_server, proxy_to, tmp_path, tmp_path_factory, monkeypatch, caplog
):
    """Not the run folder, the store, the terminal or a log; sent, refused and unreachable."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    proxy = proxy_to(bulk_server)
    begun = []

    def after_the_start(_number, path):
        begun.extend([path] * path.endswith(("runs/update", "log-batch", "daskcast/runs")))
        return fault if len(begun) > 1 else None

    proxy.fault = after_the_start
    uri = proxy.uri.replace("//", f"//ann:{SECRET}@")
    data = tmp_path / "airports.parquet"
    demo.airports(6, months=36).to_parquet(data)
    call = ["run", str(data), "--horizon", "3", "--search", "portfolio", "--cv-windows", "1"]
    call += ["--cluster", "serial", "--out", str(tmp_path / "run"), "--tracking-uri", uri]
    call += ["--experiment", f"secret {bulk} {fault}", "--tracking-bulk", bulk]
    with caplog.at_level(logging.DEBUG):
        ran = CliRunner().invoke(main, call)
        tracked = CliRunner().invoke(
            main, ["track", str(tmp_path / "run"), "--tracking-uri", uri, "--tracking-bulk", bulk]
        )
    assert ran.exit_code in (0, 1), ran.output
    assert tracked.exit_code == (0 if fault is None else 3), tracked.output
    assert any(proxy.authorizations)
    shown = ran.output + tracked.output + caplog.text
    assert SECRET not in shown
    assert holders(tmp_path, *tmp_path_factory.getbasetemp().glob("bulk*")) == []
    assert SECRET not in str(tracked.exception)
