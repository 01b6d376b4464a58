"""Who may do what.

Covers: tokens of the administrator and of service accounts; roles, cluster roles and their
bindings; the answer to "may I?".
Does not cover: aggregated cluster roles, escalation checks, expiry of tokens, certificates.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from .errors import ApiError
from .objects import Object
from .store import Store

_GROUP = "rbac.authorization.k8s.io"


@dataclass(frozen=True)
class User:
    name: str
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Attributes:
    """What a request wants to do; `part` is a subresource."""

    verb: str
    group: str
    plural: str
    part: str = ""
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        resource = f"{self.plural}/{self.part}" if self.part else self.plural
        where = f' in the namespace "{self.namespace}"' if self.namespace else ""
        scope = where or " at the cluster scope"
        return f'cannot {self.verb} resource "{resource}" in API group "{self.group}"{scope}'


class Tokens:
    """The tokens that were given out."""

    def __init__(self) -> None:
        self._users: dict[str, User] = {}
        self.admin = self._issue(User("admin", ("system:masters", "system:authenticated")))

    def user(self, header: str) -> User:
        found = self._users.get(header.removeprefix("Bearer "))
        if found is None:
            raise ApiError(401, "Unauthorized", "Unauthorized")
        return found

    def issue(self, namespace: str, account: str) -> str:
        """Give a new token of a service account."""
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
        name = f"system:serviceaccount:{namespace}:{account}"
        return self._issue(User(name, (*groups, "system:authenticated")))

    def _issue(self, user: User) -> str:
        token = secrets.token_urlsafe(32)
        self._users[token] = user
        return token


class Authorizer:
    """Decides by the roles and bindings that a store has."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def allows(self, user: User, wanted: Attributes) -> bool:
        if "system:masters" in user.groups:
            return True
        return any(_rule_allows(rule, wanted) for rule in self._rules(user, wanted.namespace))

    def _rules(self, user: User, namespace: str) -> Iterator[Object]:
        bindings = self._store.list(f"clusterrolebindings.{_GROUP}")
        if namespace:
            bindings = bindings + self._store.list(f"rolebindings.{_GROUP}", namespace)
        for binding in bindings:
            if any(_is_subject(user, s, binding) for s in binding.get("subjects") or []):
                yield from self._role(binding).get("rules") or []

    def _role(self, binding: Object) -> Object:
        reference = binding["roleRef"]
        home = "" if reference["kind"] == "ClusterRole" else binding["metadata"]["namespace"]
        resource = f"{reference['kind'].lower()}s.{_GROUP}"
        return self._store.find(resource, home, reference["name"]) or {}


def _is_subject(user: User, subject: Object, binding: Object) -> bool:
    if subject["kind"] == "ServiceAccount":
        namespace = subject.get("namespace") or binding["metadata"].get("namespace")
        return user.name == f"system:serviceaccount:{namespace}:{subject['name']}"
    return subject["name"] in (user.name, *user.groups)


def _rule_allows(rule: Object, wanted: Attributes) -> bool:
    resources = {wanted.plural, "*"}
    if wanted.part:
        resources = {f"{wanted.plural}/{wanted.part}", f"*/{wanted.part}", "*"}
    names = rule.get("resourceNames")
    return (
        bool({wanted.verb, "*"} & set(rule.get("verbs") or []))
        and bool({wanted.group, "*"} & set(rule.get("apiGroups") or []))
        and bool(resources & set(rule.get("resources") or []))
        and (not names or wanted.name in names)
    )
