"""Tests of daskcast.report."""

from __future__ import annotations

import json
import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from daskcast.config import ForecastConfig, RunOptions
from daskcast.demo import airports
from daskcast.panel import open_source
from daskcast.pipeline import run
from daskcast.records import EntityResult, Failure, Forecast, Scores, Status
from daskcast.report import render, write_report
from daskcast.report.chart import HEIGHT, WIDTH, draw
from daskcast.report.choose import N_PLOTS, choose, growths, outlook, step_names
from daskcast.report.facts import facts, options, subtitle
from daskcast.report.page import flagged, plots_of
from daskcast.store import RunFolder

MANIFEST = {
    "config": {"h": 12, "level": [80, 95], "seed": 0},
    "data": {"entities": 4, "rows": 300, "fingerprint": "abc"},
    "versions": {"daskcast": "0.1.0"},
    "seconds": {"total": 12.3, "fit": 9.0},
    "mlflow": {},
}


def entity(unique_id: str, **values: Any) -> dict[str, Any]:
    row = {
        "unique_id": unique_id,
        "status": "ok",
        "model": "ETS(M,A,M)",
        "n_obs": 144,
        "n_windows": 3,
        "cv_mase": 0.8,
        "cv_smape": 12.0,
        "naive_mase": 1.0,
        "skill": 0.2,
        "params": '{"forms": [{"form": "ETS(M,A,M)", "weight": 0.4}]}',
        "checks": '{"missing":0}',
        "error_type": "",
        "message": "",
        "seconds": 0.02,
        "batch": "b00000",
    }
    return row | values


def failed(unique_id: str, **values: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(("cv_mase", "cv_smape", "naive_mase", "skill"), math.nan)
    row = entity(unique_id, status="failed", model="", error_type="DuplicateTimes", **nothing)
    return row | {"message": "found 2 rows for 2020-01-01"} | values


def forecast(unique_id: str, h: int = 12, scale: float = 100.0) -> pd.DataFrame:
    step = np.arange(h)
    mean = scale * (1 + 0.1 * np.sin(step))
    return pd.DataFrame(
        {
            "unique_id": unique_id,
            "ds": pd.date_range("2026-01-01", periods=h, freq="MS"),
            "cutoff": pd.Timestamp("2025-12-01"),
            "daskcast": mean,
            "daskcast-lo-80": mean - 0.1 * scale,
            "daskcast-hi-80": mean + 0.1 * scale,
            "daskcast-lo-95": mean - 0.2 * scale,
            "daskcast-hi-95": mean + 0.2 * scale,
        }
    )


def page(*rows: dict[str, Any], manifest: dict[str, Any] | None = None) -> str:
    entities = pd.DataFrame(rows)
    names = entities.loc[entities["status"] != "failed", "unique_id"]
    forecasts = pd.concat([forecast(name) for name in names]) if len(names) else pd.DataFrame()
    plots = plots_of(choose(entities), entities, forecasts, {})
    return render(MANIFEST if manifest is None else manifest, entities, plots)


def text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html.split("</style>")[1]))


def test_counts_and_denominators() -> None:
    """Each mean stands beside the number of entities it is the mean of."""
    html = page(
        entity("JFK"),
        entity("LGA", cv_mase=1.2, skill=-0.2),
        entity("NEW", status="fallback", error_type="TooShort", skill=math.nan, cv_mase=math.nan),
        failed("BAD"),
    )
    words = text(html)
    assert "2 ok 1 fallback 1 failed" in words
    assert "1.00 mean MASE over 2 of 4" in words
    assert "50 % better than seasonal naive (1 of 2 with a score)" in words
    assert "3 have a forecast, of 4 entities" in words
    assert "12.3 s from the start until this page was made" in words


def test_entities_without_a_row_are_waiting() -> None:
    """A run that stopped early says how many entities are not finished."""
    assert "3 not finished" in text(page(entity("JFK")))
    assert "not finished" not in text(page(*(entity(f"A{i}") for i in range(4))))


def test_reasons_are_grouped_and_ordered() -> None:
    """Kinds of trouble come the most frequent first, each with an example."""
    rows = [failed("B1"), failed("B2"), failed("C1", error_type="AllZero", message="only zeros")]
    words = text(page(entity("JFK"), *rows))
    assert re.search(r"DuplicateTimes 2 B1 .* AllZero 1 C1 only zeros", words)


@pytest.mark.parametrize("status", ["ok", "failed"])
def test_what_users_wrote_is_escaped(status: str) -> None:
    """Ids, messages, models and options never become HTML."""
    evil = "<script>alert('x')</script>\"><img src=x onerror=1>"
    make = entity if status == "ok" else failed
    row = make(evil, model=evil, message=evil, error_type=evil)
    html = page(row, entity("JFK"), manifest=MANIFEST | {"config": {evil: evil}})
    assert "<script" not in html
    assert "<img" not in html
    assert "&lt;script&gt;" in html


def test_the_page_needs_nothing_else() -> None:
    """No address, no script, no style sheet is loaded from anywhere."""
    html = page(entity("JFK"), failed("BAD"))
    assert "<script" not in html
    assert "<link" not in html
    assert not re.search(r"(src|href)\s*=", html)
    assert "http" not in html


def test_nothing_but_failures() -> None:
    """A run in which every entity failed still has its page."""
    words = text(page(failed("A"), failed("B")))
    assert "0 have a forecast" in words
    assert "- mean MASE over 0 of 4" in words
    assert "Scores" not in words


def test_no_entity_at_all() -> None:
    """A run folder without a finished batch still has its page."""
    empty = pd.DataFrame([entity("x")]).iloc[:0]
    assert "4 not finished" in text(render(MANIFEST, empty, []))


def test_missing_values_of_any_kind() -> None:
    """None in text and number columns does not break the page."""
    html = page(
        entity("A", model=None, message=None, error_type=None), failed("B", error_type=None)
    )
    assert "1 failed" in text(html)


def test_page_size_is_bounded() -> None:
    """Ten thousand entities with long ids and messages give a page well under a megabyte."""
    bad = [failed(f"bad{i}" + "x" * 5000, message="y" * 20_000) for i in range(5000)]
    good = [entity(f"good{i}" + "z" * 5000, skill=i / 10_000) for i in range(5000)]
    entities = pd.DataFrame(bad + good)
    shown = choose(entities)
    plots = plots_of(shown, entities, pd.concat([forecast(name, 24) for name in shown]), {})
    html = render(MANIFEST, entities, plots)
    assert len(plots) == N_PLOTS
    assert len(html) < 200_000
    assert "The first 100 of 5,000" in text(html)


def test_who_is_plotted() -> None:
    """Best, middle, worst and unscored entities are drawn, failed ones never, nobody twice."""
    rows = [entity(f"A{i:03}", skill=i / 100) for i in range(100)]
    rows += [entity(f"U{i}", status="fallback", skill=math.nan) for i in range(5)] + [failed("F")]
    shown = list(choose(pd.DataFrame(rows)))
    assert shown[:3] == ["A099", "A098", "A097"]
    assert {"A000", "A001", "A002", "U0"} <= set(shown)
    assert "F" not in shown
    assert len(shown) == len(set(shown)) == N_PLOTS


def looks(**values: list[Any]) -> pd.DataFrame:
    n = len(values["unique_id"])
    columns = {"size": 1.0, "width": 0.1, "rise": 1.0, "steps": 12, "days": 30.4}
    return pd.DataFrame({name: [value] * n for name, value in columns.items()} | values)


def test_the_widest_and_the_fastest_are_plotted() -> None:
    """However middling their scores, they are drawn and the reason is in the caption."""
    rows = [entity(f"A{i:03}", skill=i / 100) for i in range(100)]
    names = [row["unique_id"] for row in rows]
    sizes, widths = [1.0] * 100, [0.1] * 100
    sizes[30], widths[70], widths[71] = 7.0, 9.0, math.inf
    history = {name: (np.arange(36), np.ones(36)) for name in names}
    found = looks(unique_id=names, size=sizes, width=widths)
    shown = choose(pd.DataFrame(rows), found, history)
    assert shown["A070"] == "widest interval"
    assert shown["A030"].startswith("largest growth, 6.93 times")
    assert len(shown) == N_PLOTS
    assert "A030" not in choose(pd.DataFrame(rows), found)


def test_growth_needs_something_to_compare_with() -> None:
    """Growth is over as many observations as there are steps; of nothing there is no growth."""
    history = {
        "two": (np.arange(24), np.repeat([50.0, 1.0], 12)),
        "zero": (np.arange(24), np.zeros(24)),
        "gap": (np.arange(24), np.full(24, np.nan)),
    }
    found = growths(looks(unique_id=["two", "zero", "gap", "none"], size=[2.0] * 4), history)
    assert found["two"] == pytest.approx(2.0 / (1.0 + 0.01 * 25.5))
    assert found[["zero", "gap"]].isna().all()
    assert "none" not in found


@pytest.mark.parametrize(
    ("freq", "name"),
    [
        ("MS", "monthly"), ("ME", "monthly"), ("QE", "quarterly"), ("YS", "yearly"),
        ("W", "weekly"), ("D", "daily"), ("B", "on business days"), ("h", "hourly"),
        ("10min", "every 0.167 hours"), ("2D", "every 2 days"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("h", [1, 12])
def test_steps_are_named(freq: str, name: str, h: int) -> None:
    """The step of the forecasts has the name that people use."""
    times = pd.date_range("2024-12-30", periods=h + 1, freq=freq)
    days = (times[-1] - times[0]) / pd.Timedelta(days=1) / h
    if (freq, h) != ("B", 1):  # one business day is a day
        assert step_names(pd.DataFrame({"days": [days]})) == [name]


def test_entities_that_miss_much_are_named() -> None:
    """Who misses more than a fifth of the steps is in the table of those who need attention."""
    rows = [
        entity("SWF", n_obs=132, checks='{"missing":121,"repairs":[]}'),
        entity("FEW", n_obs=100, checks='{"missing":25,"repairs":[]}'),
        entity("NUL", checks=None),
        entity("SHO", checks='{"missing":0,"not_modelled":["shock: 2020-03 to 2020-12"]}'),
        entity("CLN", checks='{"missing":0,"not_modelled":[]}'),
        failed("BAD", checks='{"missing": 900}'),
    ]
    found = flagged(pd.DataFrame(rows)).set_index("unique_id")
    assert found["error_type"].to_dict() == {
        "SWF": "ManyMissing", "FEW": "", "NUL": "", "SHO": "NotModelled", "CLN": "",
        "BAD": "DuplicateTimes",
    }  # fmt: skip
    words = text(page(*flagged(pd.DataFrame(rows)).to_dict("records")))
    assert "ok ManyMissing 1 SWF 121 of 253 steps are missing (48 %)" in words
    assert "ok NotModelled 1 SHO shock: 2020-03 to 2020-12" in words


def test_captions_tell_the_share() -> None:
    """Weights of one form are added up before they are shown."""
    forms = [("ETS(M,A,M)", 0.2), ("ETS(A,N,A)", 0.5), ("ETS(M,A,M)", 0.3)]
    params = json.dumps({"forms": [{"form": form, "weight": weight} for form, weight in forms]})
    assert "best; ok; ETS(M,A,M) 50 %; skill 0.20" in text(page(entity("JFK", params=params)))


def test_what_the_run_was_is_told_in_words() -> None:
    """Nothing of run.json reaches the page as a dump."""
    manifest = {
        "config": {"h": 12, "freq": None, "level": [80, 95], "step_size": None, "new": None},
        "data": {"rows": 8451, "kind": "csv", "columns": {"entity": "airport"}},
        "started": "2026-11-23T19:45:45.936+02:00",
        "versions": {"daskcast": "0.1.0"},
        "seconds": {"work": {"cpu": 0.5, "wall": 2.04}, "read": {"wall": 0.0}, "total": 3.0},
        "mlflow": {"experiment": "e", "experiment_id": "1", "run_id": "r", "run_url": ""},
    }
    told = subtitle(manifest, name="first", steps=["monthly", "weekly"])
    assert told == (
        "12 steps ahead, monthly and weekly; 8,451 rows of a CSV file; run first; experiment e; "
        "2026-11-23 17:45 UTC; daskcast 0.1.0"
    )
    assert dict(options(manifest)) == {
        "h": "12", "freq": "inferred for each entity", "level": "80, 95",
        "step_size": "chosen from the horizon", "new": "not given",
    }  # fmt: skip
    found = dict(facts(manifest))
    assert found["seconds until this page"] == "work 2.0"
    assert found["MLflow run"] == "r"
    assert "MLflow page" not in found
    assert dict(facts({"config": None}))["MLflow"] == "not tracked"
    assert subtitle({"started": "soon"}) == ""


@settings(deadline=None)
@given(low=st.floats(-1e9, 1e9), span=st.floats(1e-3, 1e9))
def test_there_are_two_ticks_with_labels_of_their_own(low: float, span: float) -> None:
    """Wherever the values are, two grid lines with different labels tell the scale."""
    table = forecast("A", 2).assign(**{"daskcast": [low, low + span]})
    table = table.drop(columns=[c for c in table.columns if "-lo-" in c or "-hi-" in c])
    labels = [label for _, label in draw(table).y_ticks]
    assert len(labels) >= 2
    assert len(set(labels)) == len(labels)


@settings(deadline=None)
@given(values=st.lists(st.floats(-1e308, 1e308), min_size=2, max_size=2))
@example(values=[0.0, 5e-324])
@example(values=[0.0, 1e-308])
@example(values=[-1e308, 1e308])
def test_any_finite_values_can_be_drawn(values: list[float]) -> None:
    """Values too near or too far for a scale have a line, and perhaps no ticks."""
    table = forecast("A", 2).assign(**{"daskcast": values})
    table = table.drop(columns=[c for c in table.columns if "-lo-" in c or "-hi-" in c])
    plot = draw(table)
    assert np.isfinite(points(plot.mean)).all()
    assert all(np.isfinite(at) for at, _ in plot.y_ticks)


def points(path: str) -> np.ndarray:
    return np.array([[float(v) for v in p.split()] for p in re.split("[MLZ]", path) if p])


def test_drawing_is_to_scale() -> None:
    """Pixels are a straight line of the values: higher is nearer the top, later is more right."""
    table = forecast("JFK")
    times = pd.date_range("2021-01-01", "2025-12-01", freq="MS").to_numpy()
    values = np.linspace(50.0, 150.0, times.size)
    plot = draw(table, (times, values))
    past, mean = points(plot.history), points(plot.mean)
    slope, start = np.polyfit(values, past[:, 1], 1)
    assert slope < 0
    np.testing.assert_allclose(mean[:, 1], start + slope * table["daskcast"], atol=0.2)
    assert (np.diff(past[:, 0]) > 0).all()
    assert past[-1, 0] == pytest.approx(plot.cutoff)
    assert plot.cutoff < mean[0, 0]
    assert [label for label, _ in plot.bands] == ["95 %", "80 %"]
    assert len(points(plot.bands[0][1])) == 24


def test_missing_observations_interrupt_the_line() -> None:
    """A hole in the history is a hole in the line."""
    times = pd.date_range("2025-01-01", "2025-12-01", freq="MS").to_numpy()
    values = np.where(np.arange(12) == 5, np.nan, 100.0)
    assert draw(forecast("JFK"), (times, values)).history.count("M") == 2


def test_missing_times_interrupt_the_line() -> None:
    """A month that has no row is a hole too; months of 28 and of 31 days are not."""
    times = pd.date_range("2024-01-01", "2025-12-01", freq="MS").to_numpy()
    kept = np.delete(times, [9, 10])
    values = np.full(kept.size, 100.0)
    assert draw(forecast("JFK"), (times, np.full(24, 100.0))).history.count("M") == 1
    plot = draw(forecast("JFK"), (kept, values))
    assert plot.history.count("M") == 2
    assert len(points(plot.history)) == kept.size


def test_whole_number_times() -> None:
    """Times that are whole numbers are drawn as such."""
    table = forecast("A").assign(ds=np.arange(100, 112), cutoff=99)
    assert all(100 <= int(label) < 112 for _, label in draw(table).x_ticks)


@settings(max_examples=60, deadline=None)
@given(
    mean=hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(width=64)),
    width=st.floats(0, 1e308),
)
def test_any_numbers_can_be_drawn(mean: np.ndarray, width: float) -> None:
    """Infinite, missing, huge and tiny values never break a plot or leave its canvas far behind."""
    with np.errstate(over="ignore", invalid="ignore"):
        table = forecast("A", mean.size).assign(
            **{"daskcast": mean, "daskcast-lo-95": mean - width, "daskcast-hi-95": mean + width}
        )
    plot = draw(table)
    for path in (plot.mean, *(band for _, band in plot.bands)):
        assert "nan" not in path
        assert "inf" not in path
        assert all(abs(v) <= 10 * WIDTH for v in points(path).ravel())
    assert all(-1 <= at <= HEIGHT for at, _ in plot.y_ticks)


def test_plots_are_well_formed() -> None:
    """Each chart of the page parses as XML."""
    html = page(entity("A & <B>"), entity("C", skill=-3.0))
    charts = re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL)
    assert len(charts) == 3
    for chart in charts:
        ET.fromstring(chart)


CUTOFF = np.datetime64("2025-12-01", "us")
TIMES = pd.date_range("2026-01-01", periods=12, freq="MS").to_numpy().astype("datetime64[us]")


def result(unique_id: str, skill: float = 0.2) -> EntityResult:
    mean, width = np.full(12, 100.0), np.array([[10.0], [20.0]])
    return EntityResult(
        unique_id,
        Status.OK,
        model="ETS(A,A,A)",
        n_obs=144,
        cutoff=CUTOFF,
        scores=Scores(3, 0.7, 0.8, 0.8, 12.0, 1.0, skill),
        forecast=Forecast(TIMES, mean, mean - width, mean + width),
    )


def lost(unique_id: str) -> EntityResult:
    failure = Failure("DuplicateTimes", f"2 rows for one time in {unique_id}")
    return EntityResult(unique_id, Status.FAILED, failure=failure)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(str(tmp_path / "run"), MANIFEST)


def read_page(folder: RunFolder) -> str:
    return folder.files.read("report.html").decode()


def test_the_page_of_a_run_folder(folder: RunFolder) -> None:
    """All that the page tells is in the run folder; ids from several batches meet in it."""
    folder.write_batch("b00000", [result("JFK"), lost("EWR")])
    folder.write_batch("b00001", [result("LGA", -0.5), result("<b>NA", 0.4)])
    write_report(folder)
    html = read_page(folder)
    assert "3 ok 1 failed" in text(html).replace("0 fallback ", "")
    assert "2 rows for one time in EWR" in html
    assert html.count("<figure>") == 3
    assert "&lt;b&gt;NA" in html
    assert "The run folder keeps no history" in html


def test_the_outlook_of_a_folder(folder: RunFolder) -> None:
    """Width and size are those of the forecasts, batch by batch; without a batch there is none."""
    assert outlook(folder, []).empty
    folder.write_batch("b00000", [result("JFK"), lost("EWR")])
    folder.write_batch("b00001", [lost("X")])
    found = outlook(folder, ["b00000", "b00001"])
    assert found["unique_id"].tolist() == ["JFK"]
    row = found.iloc[0]
    assert (row["size"], row["width"], row["steps"]) == (100.0, 0.4, 12)
    assert 28 < row["days"] < 31


@pytest.mark.parametrize("n_cutoffs", [1, 3])
def test_the_outlook_is_that_of_pandas(tmp_path, rng, n_cutoffs: int) -> None:
    """Group by entity the last window of each: the slow, obvious way gives the same."""
    n_windows = {"n_windows": n_cutoffs} if n_cutoffs > 1 else {}
    manifest = MANIFEST | {"config": MANIFEST["config"] | n_windows}
    folder = RunFolder.create(str(tmp_path / "run"), manifest)
    results = [varied(f"e{i}", int(rng.integers(1, 6)), n_cutoffs, rng) for i in range(20)]
    folder.write_batch("b0", [lost("EWR"), *results[:9], lost("JFK")])
    folder.write_batch("b1", results[9:])
    table = folder.read("forecasts").to_pandas()
    table = table[table["cutoff"] == table.groupby("unique_id")["cutoff"].transform("max")]
    table["wide"] = table["daskcast-hi-95"] - table["daskcast-lo-95"]
    table["daskcast"] = table["daskcast"].abs()
    groups = table.groupby("unique_id", sort=False)
    size = groups["daskcast"].mean()
    days = (groups["ds"].max() - groups["cutoff"].first()) / pd.Timedelta(days=1) / groups.size()
    rise = groups["daskcast"].max() / (groups["daskcast"].min() + 0.01 * size)
    width = groups["wide"].max() / size
    found = outlook(folder, ["b0", "b1"]).set_index("unique_id")
    assert found.index.tolist() == size.index.tolist()
    for name, wanted in {"size": size, "width": width, "rise": rise, "days": days}.items():
        np.testing.assert_allclose(found[name], wanted)
    np.testing.assert_array_equal(found["steps"], groups.size())


def varied(unique_id: str, h: int, n_cutoffs: int, rng: np.random.Generator) -> EntityResult:
    """Forecast h steps from some cutoffs, whatever comes."""
    n = h * n_cutoffs
    mean, width = rng.normal(size=n), rng.uniform(size=(2, n))
    past = {}
    if n_cutoffs > 1:
        past = {"cutoffs": np.repeat(TIMES[:n_cutoffs], h), "actual": rng.normal(size=n)}
    times = np.concatenate([TIMES[i + 1 : i + 1 + h] for i in range(n_cutoffs)])
    made = Forecast(times, mean, mean - width, mean + width, **past)
    return replace(result(unique_id), forecast=made)


def test_a_run_of_failures_alone(folder: RunFolder) -> None:
    """Null scores and null models of a real table do not break the page."""
    folder.write_batch("b00000", [lost("EWR"), lost("JFK")])
    write_report(folder)
    assert "2 failed" in text(read_page(folder))
    assert "<figure>" not in read_page(folder)


def test_a_run_without_a_batch(folder: RunFolder) -> None:
    """A run that was stopped at once has a page."""
    write_report(folder)
    assert "4 not finished" in text(read_page(folder))


def test_history_from_the_source(folder: RunFolder) -> None:
    """With the data at hand the plots show the history of the plotted entities, and no other's."""
    folder.write_batch("b00000", [result("JFK"), result("LGA"), lost("NA")])
    times = pd.date_range("2021-01-01", "2025-12-01", freq="MS")
    rising = np.linspace(50.0, 150.0, times.size)
    data = pd.DataFrame(
        {
            "unique_id": np.repeat(["JFK", "NA", "LGA"], times.size),
            "ds": np.tile(times, 3),
            "y": np.concatenate([rising, np.full(times.size, 1e9), rising[::-1]]),
        }
    )
    write_report(folder, open_source(data, ForecastConfig(h=12)))
    html = read_page(folder)
    assert "keeps no history" not in html
    lines = dict(
        zip(
            re.findall(r"<figcaption><b>(\w+)", html),
            re.findall(r'class="past" d="([^"]*)', html),
            strict=True,
        )
    )
    assert set(lines) == {"JFK", "LGA"}
    assert (np.diff(points(lines["JFK"])[:, 1]) < 0).all()
    assert (np.diff(points(lines["LGA"])[:, 1]) > 0).all()


def test_a_page_made_again_has_its_history(tmp_path: Path) -> None:
    """The data is found where it was read from, as long as it is the same."""
    times = pd.date_range("2021-01-01", "2025-12-01", freq="MS")
    table = pd.DataFrame({"unique_id": "JFK", "ds": times, "y": np.arange(60.0)})
    path = tmp_path / "a.csv"
    table.to_csv(path, index=False)
    config = ForecastConfig(h=12)
    about = {**open_source(path, config).describe(), "path": str(path)}
    manifest = MANIFEST | {"config": config.to_dict(), "data": about}
    folder = RunFolder.create(str(tmp_path / "run"), manifest)
    folder.write_batch("b00000", [result("JFK")])
    write_report(folder)
    assert 'class="past" d="M' in read_page(folder)
    assert "keeps no history" not in read_page(folder)
    for spoil in (
        lambda: table.assign(y=0).to_csv(path),
        lambda: path.write_text("no"),
        path.unlink,
    ):
        spoil()
        write_report(folder)
        assert "keeps no history" in read_page(folder)


def test_a_run_remembers_where_its_data_was(tmp_path: Path) -> None:
    """A path is kept, whole and from the root; a data frame leaves none."""
    table, path = airports(2), tmp_path / "a.csv"
    table.to_csv(path, index=False)
    for number, data in enumerate((path, table)):
        options = RunOptions(out=str(tmp_path / f"run{number}"), cluster="serial", tracking=False)
        folder = run(data, ForecastConfig(h=3, search="portfolio"), options).folder
        assert folder.manifest["data"].get("path") == (str(path) if data is path else None)
        assert 'class="past" d="M' in read_page(folder)
        write_report(RunFolder.open(folder.url))
        assert ("keeps no history" in read_page(folder)) == (data is table)


def test_a_second_attempt_replaces_the_first(folder: RunFolder) -> None:
    """An entity that was tried again counts once, as it ended."""
    folder.write_batch("b00000", [lost("JFK"), result("LGA")])
    folder.amend_batch("b00000", [replace(result("JFK"), attempt=2)])
    write_report(folder)
    assert "2 ok" in text(read_page(folder))
    assert "0 failed" in text(read_page(folder))


def test_writing_again_replaces_the_page(folder: RunFolder) -> None:
    """The page can be made again, and is the same."""
    folder.write_batch("b00000", [result("JFK")])
    write_report(folder)
    first = read_page(folder)
    write_report(folder)
    assert read_page(folder) == first
