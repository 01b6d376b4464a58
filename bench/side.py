"""What a side does: work once to be warm, then once for each line that it is sent.

Imported by the scripts of the sides, in whichever environment they run: needs numpy alone.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import numpy as np

#: Means [N][H] and bounds [N][L][H] of one pass over all series.
Pass = tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]


def serve(work: Callable[[], Pass], about: dict[str, object]) -> None:
    """Answer on standard output; a line ``save PATH`` also writes the forecasts."""
    print(json.dumps(about), flush=True)
    for line in sys.stdin:
        order, _, path = line.strip().partition(" ")
        cpu, wall = time.process_time(), time.perf_counter()
        mean, low, high = work()
        took = {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}
        if order == "save":
            np.savez(path, mean=np.array(mean), low=np.array(low), high=np.array(high))
        print(json.dumps({**took, "n": len(mean)}), flush=True)
