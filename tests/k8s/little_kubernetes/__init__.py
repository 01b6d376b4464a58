"""A little Kubernetes for tests: a true API server, and nodes whose containers are local processes.

Covers: what a Dask cluster, its operator and a forecasting job need of Kubernetes. Real clients
(kr8s, kopf, kubectl, helm's output) talk to it over TLS. Linux only, no root, no Docker.
Does not cover: isolation of any kind (file systems, cgroups, network policies), and what each
module names. Start at ``cluster.Cluster``.
"""

from .cluster import Cluster, wait_until
from .errors import ApiError
from .images import Image

__all__ = ["ApiError", "Cluster", "Image", "wait_until"]
