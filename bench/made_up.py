"""Made-up monthly series of any number, written as a folder of Parquet files within seconds.

Covers series as plain arrays and their files, sorted by entity, many entities a file. Does not
cover series that look like somebody's own: those of the demo are slower to make.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

#: Entities of a file, and of a row group: what a batch reads at the least.
FILE, GROUP = 10_000, 1_000


def write_folder(folder: Path, lengths: np.ndarray, seed: int = 0) -> Path:
    """Write one series for each length, of months that all end in December 2025.

    Parameters
    ----------
    folder : Path
        Made where it is missing.
    lengths : ndarray of int, shape [E]
        Months of each entity, in the order of their ids.
    seed : int
    """
    folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, len(lengths), FILE):
        part = lengths[first : first + FILE]
        rng = np.random.default_rng([seed, first])
        with pq.ParquetWriter(folder / f"part-{first // FILE:05d}.parquet", SCHEMA) as writer:
            for at in range(0, len(part), GROUP):
                writer.write_table(table(first + at, part[at : at + GROUP], rng))
    return folder


SCHEMA = pa.schema(
    [
        ("unique_id", pa.dictionary(pa.int32(), pa.string())),
        ("ds", pa.timestamp("us")),
        ("y", pa.float64()),
    ]
)


def table(first: int, lengths: np.ndarray, rng: np.random.Generator) -> pa.Table:
    """Make the rows of some entities: growth, a season, noise; shapes [E] and [E, T]."""
    n, most = len(lengths), int(lengths.max())
    step = np.arange(most)
    level = np.exp(rng.normal(8, 1.5, (n, 1)))
    growth = np.exp(step * rng.normal(0.002, 0.003, (n, 1)))
    angle = 2 * np.pi * (step - rng.integers(12, size=(n, 1))) / 12
    season = 1 + rng.uniform(0, 0.5, (n, 1)) * np.cos(angle)
    noise = np.exp(rng.uniform(0.02, 0.2, (n, 1)) * rng.standard_normal((n, most)))
    values = np.rint(level * growth * season * noise)
    kept = step >= most - lengths[:, None]
    months = (np.datetime64("2026-01", "M") - most + step).astype("M8[us]")
    ids = pa.array([f"entity-{first + i:09d}" for i in range(n)])
    codes = pa.array(np.repeat(np.arange(n, dtype=np.int32), lengths))
    times = np.broadcast_to(months, kept.shape)[kept]
    columns = [pa.DictionaryArray.from_arrays(codes, ids), pa.array(times), pa.array(values[kept])]
    return pa.Table.from_arrays(columns, schema=SCHEMA)
