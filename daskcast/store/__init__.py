"""The run folder: what a run keeps, made for local disks and object stores alike.

Covers writing batches so that they count whole or not at all, telling which count, the manifest,
and reading all of it back. Does not cover MLflow (``tracking``) or the page (``report``).
"""

from daskcast.redact import redact_uri
from daskcast.store.folder import RunFolder
from daskcast.store.lease import Hold
from daskcast.store.lock import only_one
from daskcast.store.manifest import check_same
from daskcast.store.marker import FORMAT, Marker
from daskcast.store.query import EntityView
from daskcast.store.schema import TABLES, forecast_columns, level_label, schema_of
from daskcast.store.stream import roll_call

__all__ = [
    "FORMAT",
    "TABLES",
    "EntityView",
    "Hold",
    "Marker",
    "RunFolder",
    "check_same",
    "forecast_columns",
    "level_label",
    "only_one",
    "redact_uri",
    "roll_call",
    "schema_of",
]
