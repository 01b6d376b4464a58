"""Why the API of a Kubernetes cluster refused, in one sentence.

Covers no account, no answer, no right, no operator, no namespace and names that are taken. Does not
cover making requests (``api``), a kubeconfig that cannot be used (``kubeconfig``) or pods that do
not run (``why``).
"""

from __future__ import annotations

import re

OPERATOR = (
    "helm install --repo https://helm.dask.org --create-namespace -n dask-operator "
    "--generate-name dask-kubernetes-operator"
)
"""Installs the operator, with the kinds of objects that it brings."""

LOG_IN = "log in again so that `kubectl get pods` answers"
_NOBODY = "system:anonymous"
UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"
_STRANGE, _TOO_MANY, _BROKEN = -2, 429, 500
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _CONFLICT, _INVALID = 401, 403, 404, 409, 422
_RIGHT = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\S+) resource "(?P<resource>[^"]*)" in API group '
    r'"(?P<group>[^"]*)"(?: in the namespace "(?P<namespace>[^"]*)"| at the cluster scope)?'
)
_NAMESPACE = re.compile(r'namespaces? "([\w.-]+)" not found', re.IGNORECASE)
_NO_OBJECT = re.compile(r'"[^"]+" not found')
_HINT = re.compile(r"\s*For more information check: \S+")
"""Of a package, about HTTP at large."""

_TERMINATING = re.compile(r"because it is being terminated")
_LONGEST = 600


def refusal(  # noqa: PLR0911, PLR0912 - a sentence each
    status: int, text: str, *, doing: str, namespace: str, server: str = ""
) -> str:
    """Say why a request was refused, and what to do.

    Parameters
    ----------
    status : int
        Of HTTP; 0 is no answer, -1 no account, for which ``text`` says what to do as well, -2 an
        answer that no Kubernetes gives.
    text : str
        What the API, or the way to it, said.
    doing : str
        What was asked for, such as ``"create the Dask cluster a"``.
    namespace, server : str
    """
    words = " ".join(_HINT.sub("", text).split())[:_LONGEST]
    at = f" at {server}" if server else ""
    if status == -1:
        return f"no account for a Kubernetes cluster: {words}"
    if status == _STRANGE:
        return (
            f"cannot {doing}: what answers{at} is not the API of a Kubernetes cluster ({words}): "
            f"mend the server in the kubeconfig, or what stands between; or {LOG_IN}"
        )
    if status == 0 and UNTRUSTED in text:
        return (
            f"the certificate of the Kubernetes API{at} is not trusted ({_reason(words)}): the "
            f"certificate-authority of the kubeconfig must be that of this cluster; {LOG_IN}"
        )
    if status == 0:
        return (
            f"the Kubernetes API{at} does not answer ({words}): is the cluster up, and can it be "
            f"reached from here (kubectl get pods)?"
        )
    if status == _UNAUTHORIZED:
        return (
            f"the Kubernetes API{at} does not accept the account of the kubeconfig ({words}): it "
            f"may have expired; {LOG_IN}"
        )
    if read := _NAMESPACE.search(text):
        return (
            f"there is no namespace {read[1]}: create it (kubectl create namespace {read[1]}) "
            f"or mend --namespace"
        )
    if _TERMINATING.search(text):
        return f"the namespace {namespace} is being removed: wait, or name another (--namespace)"
    if status == _FORBIDDEN:
        return _no_right(text, words, doing, namespace)
    if status == _NOT_FOUND and _NO_OBJECT.search(text):
        return f"cannot {doing}: {words}"
    if status == _NOT_FOUND:
        return f"the Dask operator is not installed in this Kubernetes cluster: {OPERATOR}"
    if status == _CONFLICT:
        return f"cannot {doing}: the name is taken in namespace {namespace} ({words})"
    if status == _INVALID:
        return f"cannot {doing}: Kubernetes finds it invalid: {words}"
    told = f"cannot {doing}: Kubernetes answers {status}{at}: {words}"
    if status == _TOO_MANY or status >= _BROKEN:
        return f"{told}; try again in a while, and where that lasts, ask who runs the cluster"
    return told


def _reason(words: str) -> str:
    """Leave away where in OpenSSL and in Python it was noticed."""
    told = words.partition("certificate verify failed: ")[2] or words
    return told.partition(" (_ssl.c")[0]


def _no_right(text: str, words: str, doing: str, namespace: str) -> str:
    read = _RIGHT.search(text)
    if f'User "{_NOBODY}"' in text:  # whom nobody should give rights
        return (
            f"cannot {doing}: the Kubernetes API was told no account; the user of the kubeconfig "
            f"needs a token, a certificate or a program that signs in (tokenFile is not read): "
            f"{LOG_IN}"
        )
    if read is None:
        where = f" in namespace {namespace}" if namespace else ""
        return (
            f"cannot {doing}{where}: Kubernetes, or what stands before it, forbids it ({words}): "
            f"ask who runs the cluster, or {LOG_IN}"
        )
    where = f"namespace {read['namespace']}" if read["namespace"] else "the whole cluster"
    role = "Role" if read["namespace"] else "ClusterRole"
    return (
        f"cannot {doing}: {read['user']} may not {read['verb']} {read['resource']} in {where}; a "
        f"{role} that is bound to this account needs the rule\n{rule(**_rule(read))}"
    )


def _rule(read: re.Match[str]) -> dict[str, str]:
    return {name: read[name] for name in ("group", "resource", "verb")}


def rule(*, group: str, resource: str, verb: str) -> str:
    """Write a rule of a Role.

    Examples
    --------
    >>> print(rule(group="", resource="pods/log", verb="get"))
        - apiGroups: [""]
          resources: ["pods/log"]
          verbs: ["get"]
    """
    return f'    - apiGroups: ["{group}"]\n      resources: ["{resource}"]\n      verbs: ["{verb}"]'
