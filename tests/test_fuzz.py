"""Any table: nobody is lost, what comes is whole and rightly dated, or the table is refused."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from invariants import check, check_refused
from panel_strategies import Panel, panels
from refused_tables import Refused, refused

PATIENT = [HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=150, suppress_health_check=PATIENT)
@given(panels())
def test_every_panel_keeps_the_invariants(panel: Panel) -> None:
    """Whatever a table holds, every entity is accounted for as ``tests/fuzz/invariants`` says."""
    check(panel)


@settings(max_examples=200)
@given(refused())
def test_a_spoilt_table_is_refused_in_words(call: Refused) -> None:
    """What cannot be used as a whole gets an error of daskcast that names what is wrong."""
    check_refused(call)
