"""Child runs, from the tables of a real run folder."""

from __future__ import annotations

import dataclasses
import json

import pytest

from daskcast.records import Failure, Scores, Status, Trial
from daskcast.tracking import RunStatus, child_runs, run_key

PARENT = "f" * 32


@pytest.fixture
def runs_of(run_folder):
    """Give a function that writes results to a run folder and makes child runs from it."""

    def make(*results, detail="entity"):
        run_folder.write_batch("b1", results)
        tables = (run_folder.read(name, ["b1"]) for name in ("entities", "trials"))
        return child_runs(*tables, PARENT, detail=detail)

    return make


def test_a_good_entity_becomes_a_finished_run(runs_of, results_of):
    """Name, tags, params of the search, scores and one loss a trial."""
    (run,) = runs_of(*results_of("JFK"))
    assert (run.name, run.status, run.duration_ms) == ("JFK", RunStatus.FINISHED, 250)
    assert run.key == run_key(PARENT, "JFK", 1)
    assert run.tags == {
        "daskcast.kind": "entity",
        "daskcast.entity": "JFK",
        "daskcast.status": "ok",
        "daskcast.model": "ETS(2)",
        "daskcast.run_key": run.key,
        "daskcast.attempt": "1",
        "daskcast.batch": "b1",
        "daskcast.stopped_by": "trials",
    }
    assert run.params == {"trend": "A", "alpha": "2.5", "forms": '{"ETS(2)": 1.0}'}
    scores = {m.key: m.value for m in run.metrics if m.key != "trial_loss"}
    assert scores == {
        "tune_loss": 0.5, "cv_mase": 0.75, "cv_rmsse": 0.7, "cv_smape": 12.0, "naive_mase": 1.0,
        "skill": 0.25, "n_obs": 120, "n_windows": 3, "n_trials": 3, "seconds": 0.25,
    }  # fmt: skip
    losses = [(m.step, m.value, m.after_ms) for m in run.metrics if m.key == "trial_loss"]
    assert losses == [(0, 1.0, 10), (1, 0.5, 20), (2, 1 / 3, 30)]


def test_a_failed_entity_becomes_a_failed_run_with_the_reason(runs_of, results_of):
    """Kind and message of a failure are tags; nothing is invented for what is not there."""
    (run,) = runs_of(*results_of("bad"))
    assert run.status is RunStatus.FAILED
    assert run.tags["daskcast.error_type"] == "TooShort"
    assert run.tags["daskcast.message"].startswith("2 observations, 4 needed")
    assert run.params == {}
    assert {m.key for m in run.metrics} == {"n_obs", "n_windows", "n_trials", "seconds"}


def test_a_traceback_is_kept_from_its_end(runs_of, results_of):
    """Where it stopped stands there last; how it came there may be long."""
    (result,) = results_of("bad")
    trace = "called from here\n" * 1000 + "ValueError: it stopped here"
    failure = Failure("ValueError", "it stopped here", trace[-8000:])
    (run,) = runs_of(dataclasses.replace(result, failure=failure))
    assert len(run.tags["daskcast.traceback"]) == 5000
    assert run.tags["daskcast.traceback"] == trace[-5000:]


def test_a_fallback_is_finished_and_says_why(runs_of, results_of):
    """An entity that fell back has a forecast: its run is finished, with the reason."""
    (result,) = results_of("JFK")
    why = Failure("TooShort", "no season in 9 observations")
    (run,) = runs_of(dataclasses.replace(result, status=Status.FALLBACK, failure=why))
    assert run.status is RunStatus.FINISHED
    assert run.tags["daskcast.status"] == "fallback"
    assert run.tags["daskcast.message"] == "no season in 9 observations"


def test_undefined_scores_are_not_sent(runs_of, results_of):
    """NaN and infinity are no metrics, neither as scores nor as losses of trials."""
    (result,) = results_of("JFK")
    trials = tuple(
        Trial(n, "ETS", {}, loss, 0.0, 0.01, "failed" if loss != 1 else "complete")
        for n, loss in enumerate((float("nan"), 1.0, float("inf")))
    )
    scores = Scores(tune_loss=float("inf"), cv_mase=float("nan"))
    (run,) = runs_of(dataclasses.replace(result, trials=trials, scores=scores))
    assert [(m.step, m.value) for m in run.metrics if m.key == "trial_loss"] == [(1, 1.0)]
    assert not {"tune_loss", "cv_mase"} & {m.key for m in run.metrics}


def test_trials_stay_with_their_entity_in_their_order(runs_of, results_of):
    """Trials of neighbours do not mix, and steps ascend whatever the order of rows."""
    results = results_of("a", "b", "bad", "c")
    results[1] = dataclasses.replace(results[1], trials=results[1].trials[::-1])
    runs = {run.name: run for run in runs_of(*results)}
    steps = {
        name: [m.step for m in run.metrics if m.key == "trial_loss"] for name, run in runs.items()
    }
    assert list(steps) == ["a", "b", "bad", "c"]
    assert steps == {"a": [0, 1, 2], "b": [0, 1, 2], "bad": [], "c": [0, 1, 2]}


def test_long_ids_are_shortened_with_a_digest(runs_of, results_of):
    """Ids of 5,000 characters have names and tags within the limits, and stay apart."""
    first, second = runs_of(*results_of("x" * 5000, "x" * 4999 + "y"))
    assert len(first.name) == 250
    assert len(first.tags["daskcast.entity"]) == 1000
    assert first.name != second.name
    assert first.tags["daskcast.entity"] != second.tags["daskcast.entity"]


def test_ids_never_become_keys(runs_of, results_of):
    """What stands for an entity stands in values alone."""
    (run,) = runs_of(*results_of("secret airport"), detail="trial")
    keys = [*run.params, *run.tags, *(m.key for m in run.metrics)]
    keys += [key for trial in run.trials for key in (*trial.params, *trial.tags)]
    assert not [key for key in keys if "secret" in key]


def test_an_empty_id_has_a_name(runs_of, results_of):
    """MLflow would invent a name for the run of an empty id."""
    (run,) = runs_of(*results_of(""))
    assert run.name == "(empty id)"
    assert run.tags["daskcast.entity"] == ""


def test_a_retried_entity_supersedes_its_last_attempt(runs_of, results_of):
    """A second attempt has a key of its own and names the first."""
    (result,) = results_of("JFK")
    (run,) = runs_of(dataclasses.replace(result, attempt=2))
    assert run.key == run_key(PARENT, "JFK", 2)
    assert run.supersedes == (run_key(PARENT, "JFK", 1),)


def test_detail_trial_adds_a_run_for_each_trial(runs_of, results_of):
    """Runs of trials carry the point, the loss and the weight."""
    (run,) = runs_of(*results_of("JFK"), detail="trial")
    assert [trial.name for trial in run.trials] == [f"JFK trial {n}" for n in range(3)]
    assert len({trial.key for trial in run.trials} | {run.key}) == 4
    last = run.trials[2]
    assert last.params == {"trend": "A", "alpha": "2.5"}
    assert {m.key: m.value for m in last.metrics} == {
        "tune_loss": 1 / 3, "weight": 1.0, "seconds": 0.01,
    }  # fmt: skip
    assert last.tags["daskcast.trial"] == "2"
    assert runs_of(*results_of("JFK"))[0].trials == ()


def test_the_same_tables_give_the_same_runs(runs_of, results_of):
    """Nothing depends on the clock: sending again sends the same."""
    results = results_of("a", "b")
    assert runs_of(*results) == runs_of(*results)


def test_params_of_any_shape_are_texts(runs_of, results_of):
    """Lists and mappings become JSON, plain values themselves, null a word."""
    (result,) = results_of("JFK")
    params = {"a": [1, 2], "b": None, "c": True, "d": "é", "e": {"x": 1}}
    (run,) = runs_of(dataclasses.replace(result, params=params, trials=()))
    assert run.params == {"a": "[1, 2]", "b": "null", "c": "true", "d": "é", "e": '{"x": 1}'}
    assert json.loads(run.params["e"]) == {"x": 1}


def test_checks_are_metrics(runs_of, results_of):
    """Numbers, yes and no, and the parts of a check are metrics; words and unknowns are not."""
    (result,) = results_of("JFK")
    checks = {
        "beats_seasonal_naive": True,
        "coverage": {"80": 0.75, "97.5": 1.0},
        "ljung_box": 0.04,
        "missing": 0,
        "repairs": ["summed"],
        "scale_defined": None,
        "trials": {"design": 12},
        "windows": "3 of 3",
    }
    (run,) = runs_of(dataclasses.replace(result, checks=checks))
    found = {m.key: m.value for m in run.metrics if m.key.startswith("check_")}
    assert found == {
        "check_beats_seasonal_naive": 1.0, "check_coverage_80": 0.75, "check_coverage_97.5": 1.0,
        "check_ljung_box": 0.04, "check_missing": 0.0, "check_trials_design": 12.0,
    }  # fmt: skip
