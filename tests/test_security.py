"""What docs/security.md promises: hostile ids, files from elsewhere, secrets."""

from __future__ import annotations

import ast
import json
import os
import pickle
import re
import sqlite3
import subprocess
import sys
import traceback
from contextlib import closing
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from distributed import Client

import daskcast
from daskcast import Forecaster, demo, fitted, forecast
from daskcast.cli import main
from daskcast.cluster import open_cluster
from daskcast.config import ForecastConfig, RunOptions
from daskcast.errors import ConfigError, DaskcastError, DataError, StoppedError, StoreError
from daskcast.panel import open_source
from daskcast.redact import redacted_args
from daskcast.runs import Run
from daskcast.store import RunFolder
from daskcast.store.marker import Marker, Part

PACKAGE = Path(daskcast.__file__).parent
MAIN = "import sys; from daskcast.cli import main; main(sys.argv[1:])"
SECRET = "hunter2"
FAST: dict[str, Any] = {"search": "portfolio", "cv_windows": 1, "cluster": "serial"}

PATHS = ("../../escaped", "/tmp/daskcast-escaped", "..\\..\\escaped", "a\0b", "CON", "~/escaped")
SQL = ("'; DROP TABLE runs; --", '"; DELETE FROM tags; --', "%' OR '1'='1", "`x`")
HTML = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</title></svg><iframe src=//evil.example>",
    "{{ 7 * 191 }}{% include '/etc/passwd' %}",
    "&lt;script&gt;",
    "javascript:alert(1)",
)
LINES = (
    "a\nERROR forged",
    "b\r\n2026-01-01T00:00:00 CRITICAL forged",
    "\x1b[2J\x1b]0;owned\x07c",
    "\x9b31md",
    "\u202eright\u2028next",
    "%s %d %n {0} {x}",
)
IDS = (*PATHS, *SQL, *HTML, *LINES)


def airports(ids: tuple[str, ...]) -> pd.DataFrame:
    months = pd.date_range("2020-01-01", periods=36, freq="MS")
    values = [100.0 + (t % 12) * 7 + t for t in range(36)]
    frames = [pd.DataFrame({"unique_id": i, "ds": months, "y": values}) for i in ids]
    # half of them are in trouble, so that they are logged and told of
    return pd.concat([f if n % 2 else pd.concat([f, f[-1:]]) for n, f in enumerate(frames)])


def daskcast_in(folder: Path, *args: object, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", MAIN, *map(str, args)],
        cwd=folder,
        env={**os.environ, **env},
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder in which the command forecast entities with hostile names, tracked."""
    folder = tmp_path_factory.mktemp("a") / "b" / "c"
    folder.mkdir(parents=True)
    airports(IDS).to_parquet(folder / "data.parquet", index=False)
    args = ["run", "data.parquet", "--horizon", 6, "--search", "portfolio", "--cv-windows", 1]
    args += ["--cluster", "processes", "--workers", 1, "--out", "run", "--track-detail", "trial"]
    done = daskcast_in(folder, *args, MLFLOW_TRACKING_URI="sqlite:///mlflow.db")
    assert done.returncode == 1, done.stderr
    (folder / "said.txt").write_text(done.stdout + done.stderr)
    return folder


# -- hostile ids -------------------------------------------------------------------------------


def test_ids_are_kept_as_they_are(place: Path) -> None:
    """None of them is cut, cleaned or lost."""
    folder = RunFolder.open(str(place / "run"))
    assert sorted(folder.read("entities")["unique_id"].to_pylist()) == sorted(IDS)
    counts = Run(folder).counts
    assert (counts.ok + counts.fallback, counts.failed) == (len(IDS) // 2, len(IDS) // 2)


def test_ids_are_no_paths(place: Path) -> None:
    """Files are where they belong, and have names that come from batches alone."""
    above = place.parent.parent
    outside = {p.relative_to(above) for p in above.rglob("*") if p.is_file()}
    inside = re.compile(
        r"b/c/(data\.parquet|said\.txt|mlflow\.db.*|mlruns/.*|mlartifacts/.*|run/(run\.json|report\.html|\.driver|\.(tracking|forecasting)\.lock"
        r"|(forecasts|entities|trials)/part-b\d+\.parquet|batches/b\d+\.json"
        r"|logs/part-(b\d+|run-driver-\w+)\.jsonl))"
    )
    assert not [path for path in outside if not inside.fullmatch(path.as_posix())]
    assert not any("escaped" in path.as_posix() for path in outside)
    assert not Path("/tmp/daskcast-escaped").exists()


def test_ids_are_no_sql(place: Path) -> None:
    """The database of MLflow has all runs, and each id finds its own."""
    with closing(sqlite3.connect(place / "mlflow.db")) as database:
        query = "SELECT value FROM tags WHERE key = 'daskcast.entity'"
        found = [value for (value,) in database.execute(query)]
        kinds = database.execute("SELECT value FROM tags WHERE key = 'daskcast.kind'").fetchall()
        names = [name for (name,) in database.execute("SELECT name FROM runs")]
        keys = {
            key
            for (key,) in database.execute(
                "SELECT key FROM tags UNION SELECT key FROM params UNION SELECT key FROM metrics"
            )
        }
    assert set(found) == {one.replace("\0", "\ufffd") for one in IDS}  # databases take no NUL
    assert [kind for (kind,) in kinds].count("entity") == len(IDS)
    assert all(name.isprintable() for name in names)
    assert all(re.fullmatch(r"[\w.\- /]+", key) for key in keys)


class Tags(HTMLParser):
    """Collects what a browser would make of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_ids_are_no_html(place: Path) -> None:
    """The report holds the tags of its template, no script, no address, and the ids as text."""
    page = Tags()
    page.feed((place / "run" / "report.html").read_text())
    template = Tags()
    template.feed((PACKAGE / "templates" / "report.html").read_text())
    assert page.tags <= {tag.lower() for tag in template.tags}
    assert not page.tags & {"script", "img", "iframe", "link", "object", "embed", "form", "a"}
    assert not [name for name in page.attributes if name.startswith("on")]
    assert not page.attributes & {"src", "href", "srcdoc", "action", "background"}
    text = "".join(page.text)
    assert "<script>alert(1)</script>" in text
    assert "{{ 7 * 191 }}" in text
    assert "1337" not in text


def test_notebooks_get_no_html_either(place: Path) -> None:
    """Nor does the summary that a notebook shows."""
    page = Tags()
    page.feed(Run.open(place / "run")._repr_html_())
    assert page.tags <= {"table", "caption", "tr", "th", "td"}


def test_ids_do_not_forge_logs(place: Path) -> None:
    """One record a line, whatever an id holds; each says whose it is."""
    logged = set()
    for file in (place / "run" / "logs").iterdir():
        for line in file.read_bytes().removesuffix(b"\n").split(b"\n"):
            assert not re.search(rb"[\x00-\x1f\x7f-\x9f]", line)
            record = json.loads(line)
            assert record["level"] in ("INFO", "WARNING", "ERROR")
            logged.add(record["entity"])
    assert {"a\nERROR forged", "\x1b[2J\x1b]0;owned\x07c"} & logged


def clean(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n"))


def test_the_terminal_sees_no_control_character(place: Path) -> None:
    """Neither of the run, nor of the commands that show it."""
    said = (place / "said.txt").read_text()
    assert clean(said)
    told = daskcast_in(place, "logs", "run").stdout
    assert clean(told)
    starts = re.compile(r"20\d\d-\d\d-\d\dT\S+ [A-Z]+|    ")
    assert all(starts.match(line) for line in told.splitlines())
    for unique_id in LINES:
        shown = daskcast_in(place, "show", "run", "--", unique_id)
        assert shown.returncode == 0, shown.stderr
        assert clean(shown.stdout)
        assert "\nERROR forged" not in shown.stdout
    missing = daskcast_in(place, "show", "run", "--", "\x1b[2J\nforged")
    assert missing.returncode == 2
    assert clean(missing.stderr)
    assert "\nforged" not in missing.stderr


def test_errors_carry_no_control_character(tmp_path: Path) -> None:
    """Names of files, of columns and values that a message quotes are shown escaped."""
    evil = "\x1b[2J\nforged"
    table = airports(("JFK",))
    (tmp_path / "folder").mkdir()
    table.rename(columns={"y": evil}).to_parquet(tmp_path / "folder" / f"{evil}.parquet")
    (tmp_path / "c.csv").write_text(f'unique_id,ds,y\na,2020-01-01,"{evil}"\n')
    (tmp_path / "d.csv").write_text(f'unique_id,ds,"{evil}"\na,2020-01-01,1\n')
    (tmp_path / f"{evil}.csv").write_text("x")
    for path in (tmp_path / "folder", *tmp_path.glob("*.csv"), tmp_path / evil):
        with pytest.raises(DataError) as caught:
            open_source(str(path), ForecastConfig(h=1))
        assert clean(str(caught.value))
        assert "\nforged" not in str(caught.value)
        done = CliRunner().invoke(main, ["run", str(path), "--horizon", "3"])
        assert done.exit_code == 2
        assert clean(done.stderr)


# -- files from elsewhere ----------------------------------------------------------------------

ALLOWED = {
    ("engine/here.py", "cloudpickle.dumps"): "results on their way from our own worker processes",
    ("engine/here.py", "pickle.loads"): "results on their way from our own worker processes",
    (
        "apart/caller.py",
        "cloudpickle.dumps",
    ): "entities on their way to our own process beside a worker",
    ("apart/caller.py", "subprocess.Popen"): "that process: this Python, a fixed module, no shell",
    ("apart/caller.py", "subprocess.DEVNULL"): "nothing for it to read",
    ("apart/caller.py", "subprocess.TimeoutExpired"): "its end",
    ("apart/warden.py", "pickle.loads"): "entities from our own worker, over a pipe of our own",
    ("apart/warden.py", "pickle.UnpicklingError"): "a runner that died while it wrote",
    ("testing/models.py", "pickle.loads"): "what the contract for models has just pickled",
    ("testing/models.py", "pickle.dumps"): "the same",
    ("testing/own.py", "cloudpickle.loads"): "the same",
    ("testing/own.py", "cloudpickle.dumps"): "the same",
    ("models/__init__.py", "import_module"): "a model that the user names as module:attribute",
    ("__init__.py", "import_module"): "our own modules, when they are needed",
    ("tracking/__init__.py", "import_module"): "our own modules, when they are needed",
    ("k8s/answers.py", "yaml.YAMLError"): "what the library of the kubeconfig raises",
    ("k8s/kubeconfig.py", "yaml.safe_load"): "the kubeconfig of the user, plain values",
    ("k8s/kubeconfig.py", "yaml.YAMLError"): "what it says of one that is none",
    ("k8s/manifests.py", "yaml.SafeDumper"): "manifests are written, none is read",
    ("k8s/manifests.py", "yaml.dump"): "the same",
}
CODE = re.compile(
    r"(.*\.)?(c?pickle|cloudpickle|dill|joblib|marshal|shelve|yaml)\..*|eval|exec|compile|__import__"
    r"|(.*\.)?import_module|(.*\.)?read_pickle|(.*\.)?from_pickle|os\.system|os\.popen|subprocess\..*"
    r"|allow_pickle or shell|(np|numpy)\.load|pd\.eval|(.*\.)?loads_pickle"
)


def calls(file: Path) -> set[str]:
    """Name all that a module calls, or hands on, that could turn data into code."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call):
            names.add(ast.unparse(node.func))
            if any(k.arg in ("allow_pickle", "shell") for k in node.keywords):
                names.add("allow_pickle or shell")
        elif isinstance(node, ast.Attribute):
            names.add(ast.unparse(node))
    return {name for name in names if CODE.fullmatch(name) and "(" not in name}


def test_nothing_that_is_read_becomes_code() -> None:
    """Each place of the package that unpickles, evaluates or imports by name is known, and why."""
    found = {
        (file.relative_to(PACKAGE).as_posix(), name)
        for file in PACKAGE.rglob("*.py")
        for name in calls(file)
    }
    assert found == set(ALLOWED)


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.path, "unpickled")


@pytest.fixture
def fired(tmp_path: Path) -> Path:
    return tmp_path / "fired"


def test_the_bomb_works(fired: Path) -> None:
    """Unpickled, it does write its file."""
    pickle.loads(pickle.dumps(Bomb(fired)))
    assert fired.exists()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("run") / "run"
    return forecast(demo.airports(3, months=48), h=6, tracking=None, out=out, **FAST)


def copy(source: Path, target: Path) -> Path:
    for file in source.rglob("*"):
        if file.is_file():
            new = target / file.relative_to(source)
            new.parent.mkdir(parents=True, exist_ok=True)
            new.write_bytes(file.read_bytes())
    return target


def use(path: Path) -> None:
    """Do with a run folder all that reads it."""
    found = Run.open(path)
    assert found.entities is not None
    assert found.forecasts is not None
    assert found.trials is not None
    list(found.folder.read_logs())
    found.folder.entity("anyone")


@pytest.mark.parametrize("which", ["run.json", "batches", "entities", "forecasts", "trials"])
def test_a_run_folder_of_pickles(run: Run, which: str, tmp_path: Path, fired: Path) -> None:
    """Files that are pickles, with digests that fit, are refused in words and not unpickled."""
    place = copy(Path(run.path), tmp_path / "theirs")
    bomb = pickle.dumps(Bomb(fired))
    if which in ("run.json", "batches"):
        files = [place / which] if which == "run.json" else [*(place / which).iterdir()]
        for file in files:
            file.write_bytes(bomb)
    else:
        for marker_file in (place / "batches").iterdir():
            marker = Marker.from_bytes(marker_file.read_bytes())
            assert marker is not None
            (place / which / f"part-{marker.batch}.parquet").write_bytes(bomb)
            parts = {**marker.parts, which: Part.of(bomb, 1)}
            marker_file.write_bytes(replace(marker, parts=parts).to_bytes())
    with pytest.raises(StoreError, match=r"damaged|not one that daskcast wrote|no entity"):
        use(place)
    for command in (["show", str(place), "x"], ["logs", str(place)], ["report", str(place)]):
        done = CliRunner().invoke(main, command)
        assert done.exit_code in (0, 2)
        assert done.exception is None or isinstance(done.exception, SystemExit)
    assert not fired.exists()


def test_a_run_folder_with_a_bomb(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that would fill the memory is refused, as any table is."""
    from daskcast.panel import limits

    place = copy(Path(run.path), tmp_path / "theirs")
    monkeypatch.setattr(limits, "memory", lambda: 4096)
    with pytest.raises(StoreError, match=r"it promises 3 rows, .* 12.5% of the memory"):
        use(place)


def test_logs_of_pickles_are_left_out(run: Run, tmp_path: Path, fired: Path) -> None:
    """A line that is no record is left out; the others are read."""
    place = copy(Path(run.path), tmp_path / "theirs")
    (place / "logs" / "part-run-x.jsonl").write_bytes(pickle.dumps(Bomb(fired)))
    assert list(RunFolder.open(str(place)).read_logs()) == list(run.folder.read_logs())
    assert not fired.exists()


def test_a_run_folder_of_others_does_not_choose_what_is_read(run: Run, tmp_path: Path) -> None:
    """A report shows the data of a path in run.json only where that is the very data of the run."""
    place = copy(Path(run.path), tmp_path / "theirs")
    private = tmp_path / "private.csv"
    demo.airports(3, months=50).assign(y=777_777.0).to_csv(private, index=False)
    folder = RunFolder.open(str(place))
    manifest = folder.manifest
    data = {**manifest["data"], "path": str(private)}
    config = {**manifest["config"], "models": ["antigravity:x"]}
    folder.write_manifest({**manifest, "data": data, "config": config})
    assert CliRunner().invoke(main, ["report", str(place)]).exit_code == 0
    assert "777" not in (place / "report.html").read_text()
    assert "antigravity" not in sys.modules


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "model"
    Forecaster(h=6, search="portfolio", cv_windows=1).fit(
        demo.airports(3, months=48), cluster="serial"
    ).save(path)
    return path


@pytest.mark.parametrize("name", ["model.json", "entities.parquet", "history.parquet"])
def test_a_bundle_of_pickles(saved: Path, name: str, tmp_path: Path, fired: Path) -> None:
    """The same of a saved model, with a digest that fits."""
    from daskcast.store import model as folders

    place = copy(saved, tmp_path / "theirs")
    bomb = pickle.dumps(Bomb(fired))
    (place / name).write_bytes(bomb)
    if name != "model.json":
        about = json.loads((place / "model.json").read_text())
        about["parts"][name.partition(".")[0]].update(vars_of(Part.of(bomb, 1)))
        about.pop("blake2b")
        text = json.dumps({**about, "blake2b": folders._own_digest(about)})
        (place / "model.json").write_text(text)
    with pytest.raises(StoreError, match=r"damaged|not one that daskcast wrote"):
        Forecaster.load(place)
    assert not fired.exists()


def vars_of(part: Part) -> dict[str, Any]:
    return {"size": part.size, "blake2b": part.blake2b, "rows": part.rows}


def test_a_bundle_does_not_choose_what_is_imported(saved: Path, tmp_path: Path) -> None:
    """A module that it names is imported only where the caller names it, too."""
    bundle = fitted.load(saved, None)
    options = {**bundle.options, "models": ["ets", "antigravity:x"]}
    fitted.save(replace(bundle, options=options), tmp_path / "theirs", overwrite=False)
    with pytest.raises(StoreError, match=r"models 'antigravity:x' of your own.*models="):
        Forecaster.load(tmp_path / "theirs")
    mine = {"antigravity:x": "daskcast.models:Naive"}
    assert Forecaster.load(tmp_path / "theirs", models=mine).models == ["ets", *mine.values()]
    assert "antigravity" not in sys.modules


def test_json_that_is_deep(saved: Path, run: Run, tmp_path: Path) -> None:
    """A hundred thousand brackets are damage, not a crash."""
    for source, name, open_it in (
        (saved, "model.json", Forecaster.load),
        (Path(run.path), "run.json", Run.open),
    ):
        place = copy(source, tmp_path / name)
        (place / name).write_text("[" * 100_000)
        with pytest.raises(StoreError, match="damaged"):
            open_it(place)


@pytest.mark.integration
def test_executors_of_this_machine_listen_to_it_alone() -> None:
    """Scheduler, workers and dashboard of a local cluster are on the loopback interface."""
    with open_cluster(RunOptions(cluster="local", workers=1)) as client:
        assert isinstance(client, Client)
        about = client.scheduler_info(n_workers=-1)
        found = [about["address"], *about["workers"], client.dashboard_link]
    assert len(found) == 3
    assert all(re.match(r"(tcp|http)://127\.0\.0\.1:", address) for address in found)


# -- secrets -----------------------------------------------------------------------------------


def everything(folder: Path) -> str:
    """Give all that the files of a folder say, packed or not."""
    texts = []
    for file in folder.rglob("*"):
        if file.suffix == ".parquet":
            texts += [str(pq.read_table(file).to_pylist()), str(pq.read_metadata(file).metadata)]
        elif file.is_file():
            texts.append(file.read_bytes().decode("latin-1"))
    return "\n".join(texts)


def test_a_run_keeps_no_secret(tmp_path: Path) -> None:
    """Neither folder nor terminal has the password of a store, or the value of a secret tag."""
    demo.airports(3, months=48).to_csv(tmp_path / "data.csv", index=False)
    args = ["run", "data.csv", "--horizon", 6, "--search", "portfolio", "--cv-windows", 0]
    args += ["--cluster", "serial", "--out", "run"]
    args += ["--tracking-uri", f"postgresql://me:{SECRET}@127.0.0.1:9/mlflow"]
    args += ["--tag", f"deploy_token={SECRET}", "--tag", f"from=https://me:{SECRET}@host/x"]
    done = daskcast_in(tmp_path, *args, AWS_SECRET_ACCESS_KEY=SECRET)
    assert done.returncode in (0, 1), done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert SECRET not in everything(tmp_path / "run")
    assert "127.0.0.1:9" in done.stdout + done.stderr + everything(tmp_path / "run")


@pytest.mark.parametrize(
    ("kind", "act"),
    [
        (ConfigError, lambda _: RunOptions(cluster=f"tcp://me:{SECRET}@host:1")),
        (ConfigError, lambda uri: forecast(demo.airports(1), h=1, tracking=uri, **FAST)),
        (DataError, lambda uri: open_source(f"{uri}.csv", ForecastConfig(h=1))),
        (DataError, lambda _: open_source(f"memory://me:{SECRET}@x.csv", ForecastConfig(h=1))),
        (StoreError, lambda uri: RunFolder.create(uri, {"config": {"level": [80]}})),
        (StoreError, RunFolder.open),
        (StoreError, lambda _: Run.open(f"memory://me:{SECRET}@x")),
        (StoreError, Forecaster.load),
    ],
    ids=["cluster", "tracking", "data", "known-data", "out", "run", "known-run", "model"],
)
def test_exceptions_keep_no_secret(kind: type[DaskcastError], act: Any) -> None:
    """Not in the message, nor in what is pickled or in the traceback that is printed."""
    uri = f"nowhere://me:{SECRET}-{'x' * 90}@host/{'y' * 90}"
    with pytest.raises(kind) as caught:
        act(uri)
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(pickle.loads(pickle.dumps(caught.value)))
    lines = traceback.format_exception_only(caught.value)
    assert SECRET not in "".join(lines)


def test_the_resume_line_keeps_no_secret(tmp_path: Path) -> None:
    """What a stopped command prints ends in the logs of whoever started it."""
    args = ["--tracking-uri", f"https://me:{SECRET}@host", "--tag", f"api_token={SECRET}"]
    args += [f"--tag=password={SECRET}", "--tag", "design=3", "--out", f"ftp://me:{SECRET}@host/x"]
    told = redacted_args(args)
    assert SECRET not in str(told)
    assert "design=3" in told
    assert told[1] == "https://host"

    def stop(_progress: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises((StoppedError, KeyboardInterrupt)) as caught:
        forecast(
            demo.airports(2, months=48),
            h=6,
            tracking=None,
            out=f"memory://me:{SECRET}@stopped",
            on_progress=stop,
            **FAST,
        )
    assert SECRET not in str(caught.value)


def test_a_frame_without_secrets_is_the_same() -> None:
    """Ids that look like addresses stay what they are, in the tables: they are the user's data."""
    table = airports(("https://me:pw@host/a", "plain")).drop_duplicates(["unique_id", "ds"])
    run = forecast(table, h=3, tracking=None, **FAST)
    assert sorted(run.entities["unique_id"]) == ["https://me:pw@host/a", "plain"]
