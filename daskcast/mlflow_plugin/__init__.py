"""What MLflow lacks: many runs at a time, written into its tables.

Covers complete runs and what a client and a server say of them to each other (``messages``), their
rows (``tables``), who may write how much (``guard``), and the server (``app``). Imports nothing of
daskcast, and of all else only MLflow and what MLflow brings, so that it works on a server that has
nothing but those.
"""

#: Tag that makes a run the child of another, as MLflow writes it.
PARENT_TAG = "mlflow.parentRunId"
#: Tag that holds the key of a child run: the same for the same entity, attempt and parent.
KEY_TAG = "daskcast.run_key"
#: Tag of a run that another took the place of, with the id of that.
SUPERSEDED_TAG = "daskcast.superseded_by"
