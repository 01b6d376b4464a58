"""Dask clusters on Kubernetes: their manifests, starting them, and saying why they do not start."""
