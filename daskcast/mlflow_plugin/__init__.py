"""What MLflow lacks: many runs at a time, written into its tables.

Covers rows of complete runs (``tables``), what a client and a server say to each other
(``messages``), who may write how much (``guard``), and the server (``app``). Imports nothing of
daskcast, and of all else only MLflow and what MLflow brings, so that it works on a server that has
nothing but those.
"""
