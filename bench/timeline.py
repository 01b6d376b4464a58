"""When each worker worked: a preload module of Dask workers, given through the environment.

Writes the begin and the end of every batch to a file for each worker, and makes some entities as
slow as DASKCAST_SLOW says: every hundredth by its id, that many times.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from pathlib import Path
from typing import Any


def environment(folder: Path, slow: int = 1) -> dict[str, str]:
    """Make the workers of a command write to a folder."""
    return {
        "DASK_DISTRIBUTED__WORKER__PRELOAD": '["timeline"]',
        "DASKCAST_TIMELINE": str(folder),
        "DASKCAST_SLOW": str(slow),
        "PYTHONPATH": os.pathsep.join(
            filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        ),
    }


def dask_setup(worker: Any) -> None:
    """Wrap the work of a batch and of an entity; Dask calls this when a worker starts."""
    from daskcast import task
    from daskcast.work import BatchWork

    path = Path(os.environ["DASKCAST_TIMELINE"]) / f"{os.getpid()}-{id(worker)}.jsonl"
    times = int(os.environ["DASKCAST_SLOW"])
    do_batch, run_entity = BatchWork.__call__, task.run_entity

    def timed(self: Any, batch: Any) -> Any:
        begin = time.time()
        receipt = do_batch(self, batch)
        with path.open("a") as file:
            file.write(json.dumps([begin, time.time(), batch.n_entities]) + "\n")
        return receipt

    def slowed(series: Any, *args: Any) -> Any:
        if zlib.crc32(series.unique_id.encode()) % 100 == 0:
            for _ in range(times - 1):
                run_entity(series, *args)
        return run_entity(series, *args)

    BatchWork.__call__ = timed  # type: ignore[method-assign]
    task.run_entity = slowed


def read(folder: Path) -> dict[str, Any]:
    """Tell how long the work took and how long workers had nothing left at its end.

    ``idle`` is the time of all workers from the end of their last batch to the end of the work, as
    a share of workers times work.
    """
    workers = [
        [json.loads(line) for line in path.read_text().splitlines()] for path in folder.iterdir()
    ]
    begin = min(batch[0] for one in workers for batch in one)
    last = [max(batch[1] for batch in one) for one in workers]
    lasting = max(last) - begin
    busy = sum(batch[1] - batch[0] for one in workers for batch in one)
    return {
        "work_s": round(lasting, 2),
        "idle": round(sum(max(last) - end for end in last) / (len(last) * lasting), 4),
        "busy": round(busy / (len(last) * lasting), 4),
        "batches": sum(map(len, workers)),
    }
