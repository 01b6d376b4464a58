"""Any panel against the invariants: is anybody lost, is anything wrong that comes back.

Draws panels with the strategies of the tests, and judges each run by the same invariants; then
tables that must be refused. Broken invariants are listed with the panel that broke them, and make
the exit code 1.
Usage: fuzz.py [--panels 5000] [--seed 0]
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from common import ROOT, write_result
from hypothesis import HealthCheck, Phase, given, seed, settings

sys.path.insert(0, str(ROOT / "tests" / "fuzz"))

from invariants import check, check_refused
from panel_strategies import Panel, panels
from refused_tables import Refused, refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypothesis.strategies import SearchStrategy

AT_ONCE = 100
PANELS_A_TABLE = 5


@dataclass
class Found:
    """What was seen so far."""

    panels: int = 0
    entities: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    tables: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def panel(self, panel: Panel) -> None:
        """Judge a panel."""
        self.panels += 1
        try:
            outcome = check(panel)
        except Exception:  # noqa: BLE001 - what is looked for
            self.broken.append(f"{panel}\n{traceback.format_exc()}")
            return
        self.entities += len(panel.told)
        self.statuses += outcome.statuses
        self.reasons += outcome.reasons
        if outcome.refused:
            self.refused[outcome.refused] += 1
        if self.panels % AT_ONCE == 0:
            print(self.panels, dict(self.statuses), len(self.broken), flush=True)

    def table(self, call: Refused) -> None:
        """Judge the refusal of a table."""
        self.tables += 1
        try:
            check_refused(call)
        except Exception:  # noqa: BLE001 - what is looked for
            self.broken.append(f"{call}\n{traceback.format_exc()}")
            return
        self.refused[call.error.__name__] += 1


def draw(strategy: SearchStrategy[Any], judge: Callable[[Any], None], n: int, start: int) -> None:
    """Draw some values, a few hundred from each seed, and judge them."""
    for first in range(0, n, AT_ONCE):

        @seed(start + first)
        @settings(
            max_examples=min(AT_ONCE, n - first),
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(strategy)
        def judged(value: Any) -> None:
            judge(value)

        judged()


def main() -> None:
    """Judge, and write bench/results/fuzz.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--panels", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found, begun = Found(), time.perf_counter()
    draw(panels(), found.panel, options.panels, options.seed)
    draw(refused(), found.table, options.panels // PANELS_A_TABLE, options.seed)
    for told in found.broken:
        print(told, flush=True)
    write_result(
        "fuzz",
        {
            "what": "panels of every kind, each run judged by the invariants of tests/fuzz",
            "panels": found.panels,
            "entities": found.entities,
            "statuses": dict(found.statuses),
            "reasons": dict(found.reasons.most_common()),
            "tables_that_must_be_refused": found.tables,
            "refused": dict(found.refused),
            "broken_invariants": len(found.broken),
            "seconds": round(time.perf_counter() - begun, 1),
            "seed": options.seed,
        },
    )
    sys.exit(bool(found.broken))


if __name__ == "__main__":
    main()
