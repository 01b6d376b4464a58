"""Telling how a run to go on differs from the one in the folder."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from daskcast.config import ForecastConfig
from daskcast.store import check_same

DATA = {"fingerprint": "aa", "rows": 100, "entities": 3}


def stored(config: ForecastConfig) -> dict[str, object]:
    """Give a manifest as it comes back from the disk."""
    manifest: dict[str, object] = json.loads(json.dumps({"config": config.to_dict(), "data": DATA}))
    return manifest


def test_the_same_run_differs_in_nothing() -> None:
    """Tuples that became lists, and facts beside the fingerprint, are no difference."""
    config = ForecastConfig(h=12, level=(80, 97.5))
    assert check_same(stored(config), config.to_dict(), DATA) == []
    new = {**config.to_dict(), "level": (80, 97.5), "models": ("ets", "theta", "ces")}
    assert check_same(stored(config), new, {**DATA, "kind": "parquet"}) == []


def test_options_are_named_with_both_values() -> None:
    """Each option that changed has its own sentence."""
    old = stored(ForecastConfig(h=12, seed=1))
    assert check_same(old, ForecastConfig(h=6, seed=2, freq="MS").to_dict(), DATA) == [
        "option freq: the run has None, now it is 'MS'",
        "option h: the run has 12, now it is 6",
        "option seed: the run has 1, now it is 2",
    ]


def test_an_option_of_another_version() -> None:
    """An option that only one side knows is a difference."""
    assert check_same({"config": {"h": 1}, "data": DATA}, {"h": 1, "new": 2}, DATA) == [
        "option new: the run has not set, now it is 2"
    ]


def test_data_that_changed() -> None:
    """More rows are counted out; other values in as many rows are told apart from them."""
    old = {"config": {}, "data": DATA}
    assert check_same(old, {}, {"fingerprint": "bb", "rows": 101, "entities": 3}) == [
        "the data changed: rows were 100, now 101 (fingerprint 'aa', now 'bb')"
    ]
    assert check_same(old, {}, {**DATA, "fingerprint": "bb"}) == [
        "the data changed: as many rows and entities, but other values (fingerprint 'aa', now 'bb')"
    ]


@given(st.dictionaries(st.sampled_from("abc"), st.integers(0, 2)), st.data())
def test_silent_only_where_equal(old: dict[str, int], data: st.DataObject) -> None:
    """There is a sentence for each option that differs, and for no other."""
    new = data.draw(st.dictionaries(st.sampled_from("abc"), st.integers(0, 2)))
    told = check_same({"config": old, "data": DATA}, new, DATA)
    differ = sorted(n for n in {*old, *new} if old.get(n) != new.get(n))
    assert [sentence.split(":")[0] for sentence in told] == [f"option {name}" for name in differ]
