"""A Dask operator that does nothing for an object, in one sentence.

Covers a ``DaskCluster`` and a ``DaskJob`` alike. Does not cover noticing it (``why``, ``submit``).
"""

from __future__ import annotations


def nobody_acts(what: str, namespace: str) -> str:
    """Say that no operator has taken note of an object.

    Parameters
    ----------
    what : str
        Such as ``"the Dask cluster a"``.
    namespace : str
    """
    return (
        f"no Dask operator acts on {what}: does it run (one that hangs is started anew within a "
        f"minute)? {_look(namespace)}"
    )


def makes_no_pods(what: str, namespace: str) -> str:
    """Say that the operator has taken note of an object, and makes nothing of it.

    Parameters
    ----------
    what : str
        As of :func:`nobody_acts`.
    namespace : str
    """
    return f"the Dask operator makes no pods for {what}: see {_look(namespace)}"


def _look(namespace: str) -> str:
    return (
        "kubectl get pods -A -l app.kubernetes.io/name=dask-kubernetes-operator, and its log; does "
        f"it watch the namespace {namespace}?"
    )
