"""Any panel: nobody is lost, and what comes is whole, finite, nested and rightly dated."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from invariants import check
from panel_strategies import Panel, panels

PATIENT = [HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=200, suppress_health_check=PATIENT)
@given(panels())
def test_every_panel_keeps_the_invariants(panel: Panel) -> None:
    """Whatever a table holds, every entity is accounted for as the invariants say."""
    check(panel)
