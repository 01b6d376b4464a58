"""The families by name."""

from __future__ import annotations

import numpy as np
import pytest

from daskcast import models
from daskcast.config import MODELS
from daskcast.errors import ConfigError
from daskcast.models import ETS, Drift, Naive, SeasonalNaive, families, view_of


class Panel(Naive):
    """A family that would need all entities at once."""

    name = "hierarchical"
    scope = "panel"


def test_every_family_is_found_by_its_name():
    """Each family that ships is registered under its own name."""
    found = families(["ets", "seasonal_naive", "naive", "drift"])
    assert [type(one) for one in found] == [ETS, SeasonalNaive, Naive, Drift]
    assert [one.name for one in found] == ["ets", "seasonal_naive", "naive", "drift"]


def test_the_registry_is_what_is_exported():
    """No family is registered that users cannot import, and none is exported unregistered."""
    exported = {getattr(models, name) for name in models.__all__}
    registered = set(models._FAMILIES.values())
    assert registered <= exported
    families_there = {one for one in exported if hasattr(one, "roll")}
    assert families_there - {models.Family, models.OwnModel} == registered


def test_the_options_know_the_same_names():
    """What the options accept by name is what is registered."""
    assert set(MODELS) == set(models._FAMILIES)


def test_a_family_itself_passes_through():
    """A user's own family is taken as it is, among names, in the order given."""
    own = Drift()
    assert families(["naive", own])[1] is own


def test_unknown_names_are_all_named():
    """The message names every unknown family and those that are known."""
    with pytest.raises(ConfigError) as caught:
        families(["ets", "prophet", "lstm"])
    message = str(caught.value)
    for word in ("'prophet'", "'lstm'", "ets", "seasonal_naive", "naive", "drift"):
        assert word in message
    assert "'ets'" not in message


def test_a_family_of_the_whole_panel_is_refused(monkeypatch):
    """A model that must see all entities says so, and is refused with the reason."""
    with pytest.raises(
        ConfigError, match=r"hierarchical must see all entities .* one entity alone"
    ):
        families([Panel()])
    monkeypatch.setitem(models._FAMILIES, "hierarchical", Panel)
    with pytest.raises(ConfigError, match="hierarchical"):
        families(["ets", "hierarchical"])


def test_a_view_counts_what_is_observed():
    """The view holds counts before the first cutoff and in all, and the smallest value."""
    y = np.array([5, 3, np.nan, 8, 2, np.nan], dtype=np.float32)
    view = view_of(y, 2, 1, np.array([4, 5]))
    assert (view.first_obs, view.n_obs, view.low) == (3, 4, 2.0)
    assert view.y.dtype == np.float64
    assert view.y.flags.c_contiguous
    assert (view_of(y, 2, 1).first_obs, len(view_of(y, 2, 1).cutoffs)) == (4, 0)


def test_a_view_of_every_other_value_is_contiguous():
    """Kernels get contiguous values from a strided input."""
    assert view_of(np.arange(20.0)[::2], 1, 1).y.flags.c_contiguous
