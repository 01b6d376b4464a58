"""Real airports, where their files are at hand: every one has a series or a reason."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from panel_samples import series_of

DATA = Path(__file__).parents[2].parent / "shared" / "data"

pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not DATA.is_dir(), reason="no folder ../shared/data with the airport files"),
]


@pytest.fixture
def indian() -> pd.DataFrame:
    df = pd.read_csv(DATA / "aai_airports.csv", dtype={"airport_code": str}, keep_default_na=False)
    month = df["year"].astype(str) + "-" + df["month"].astype(str).str.zfill(2)
    pax = df["pax_intl"].astype(float) + df["pax_domestic"].astype(float)
    return pd.DataFrame({"unique_id": df["airport_code"], "ds": month, "y": pax})


@pytest.fixture
def new_york() -> pd.DataFrame:
    df = pd.read_csv(DATA / "port_authority_ny_nj.csv")
    dates = pd.to_datetime(df["Year"].astype(str) + df["Month"], format="%Y%b")
    return pd.DataFrame({"unique_id": df["Airport Code"], "ds": dates, "y": df["Total Passengers"]})


@pytest.mark.parametrize("how", ["fail", "sum", "last"])
def test_every_indian_airport_is_accounted_for(indian, how) -> None:
    """Each airport is monthly, or its trouble has a name."""
    found = series_of(indian, h=12, duplicates=how)
    assert list(found) == sorted(indian["unique_id"].unique())
    for series in found.values():
        if series.problem is None:
            assert (series.freq, series.season_length, len(series.future)) == ("MS", 12, 12)
        else:
            assert series.problem.error_type in {"DuplicateTimes", "TooShort"}
    assert sum(series.problem is None for series in found.values()) > 0.9 * len(found)


def test_airports_of_new_york_keep_their_dates(new_york) -> None:
    """Long histories and a hole of years are regular series to the last observation."""
    found = series_of(new_york, h=12)
    assert {key: s.problem for key, s in found.items()} == dict.fromkeys(found)
    for unique_id, rows in new_york.groupby("unique_id"):
        series = found[unique_id]
        dates = pd.date_range(rows["ds"].min(), rows["ds"].max(), freq="MS")
        expected = rows.set_index("ds")["y"].reindex(dates).to_numpy(float)
        pd.testing.assert_series_equal(pd.Series(series.y), pd.Series(expected))
        assert series.future[0] == (dates[-1] + pd.DateOffset(months=1)).to_numpy()
