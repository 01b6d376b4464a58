"""What the API refused, as the error that ends a start.

Covers whether it may pass. Does not cover the sentence (``refused``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from daskcast.errors import ClusterError
from daskcast.k8s.refused import refusal

if TYPE_CHECKING:
    from daskcast.k8s.answers import RefusedError


def as_error(
    refused: RefusedError, *, doing: str, namespace: str, server: str = ""
) -> ClusterError:
    """Give the error for a refusal: one that may pass, or for good.

    Parameters
    ----------
    refused : RefusedError
    doing : str
        What was asked for, such as ``"create the Dask cluster a"``.
    namespace, server : str
    """
    told = refusal(refused.status, refused.text, doing=doing, namespace=namespace, server=server)
    return ClusterError(told, may_pass=refused.passing)
