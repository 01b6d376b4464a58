"""What MLflow lacks: many runs at a time, written into its tables.

Covers rows of complete runs (``tables``). Imports nothing of daskcast, and of all else only MLflow
and what MLflow brings, so that it works on a server that has nothing but those.
"""
