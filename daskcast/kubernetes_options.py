"""The options of a Dask cluster on Kubernetes, checked.

Covers :class:`KubernetesOptions` and, for each kind of its pods, :class:`PodOptions`. Does not
cover the manifests that they become (``k8s``) or how many workers there are (``config``).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from daskcast.errors import ConfigError
from daskcast.option_checks import at_least, at_most, is_number, seconds
from daskcast.redact import is_secret_name, lines_with_secrets, redacted_tags

MOST_S = 10**9
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
UNITS = {
    **{"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12},
    **{"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40},
}
RESERVED = (
    *("DASK_SCHEDULER_ADDRESS", "DASK_WORKER_NAME", "DASKCAST_JOB_UID", "DASKCAST_RUN"),
    *("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"),
)
"""Variables that the operator, the Job or Kubernetes sets; one that is given would win over it."""

_MEMORY = re.compile(r"([1-9][0-9]{0,14}(?:\.[0-9]+)?)(|k|M|G|T|Ki|Mi|Gi|Ti)")
_CPU = re.compile(r"(?!0+(\.0{0,2}|\.000\d*)?$)[0-9]{1,6}(\.[0-9]+)?|[1-9][0-9]{0,8}m")
_DOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_SECRET = re.compile(f"(?=.{{1,253}}$){_DOMAIN}")
_WORD = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_LABEL = re.compile(f"({_WORD})?")
_LABELLED = re.compile(f"((?=[^/]{{1,253}}/){_DOMAIN}/)?{_WORD}")
_LABEL_PAIR = re.compile(f"{_LABELLED.pattern}={_LABEL.pattern}")
_OF_LABELS = "of letters, digits and - _ . within (and one / before the name)"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TEXT = re.compile(r"[^\0]*")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_CLUSTER_NAME = re.compile(r"[a-z]([-a-z0-9]{0,48}[a-z0-9])?")
_IMAGE = re.compile(r"[a-z0-9][\w./:@-]*", re.IGNORECASE)
_LEAST_MEMORY = "32Mi"  # less, such as a number without its unit, starts no Python
_TOLERATION = re.compile(r"([^=:\s]+)(?:=([^:\s]*))?(?::(\w+))?")
_RANGE = re.compile(r"([0-9]{1,6}):([0-9]{1,6})")


@dataclass(frozen=True, slots=True, kw_only=True)
class PodOptions:
    """What one kind of pods gets: scheduler, workers or driver.

    Parameters
    ----------
    cpu : str or None
        Cores, such as ``"2"`` or ``"500m"``; None takes one for each thread.
    memory : str
        Both asked for and the limit, such as ``"4Gi"``.
    env : mapping of str to str
        But for the variables that say where a pod belongs (``RESERVED``), and for secrets: these
        would stand in a manifest, which many may read.
    secrets, config_maps : tuple of str
        Each of whose keys becomes an environment variable.
    node_selector : mapping of str to str
        Labels that a node must have.
    tolerations : tuple of str
        ``KEY``, ``KEY=VALUE`` or ``KEY=VALUE:EFFECT``; taints of nodes that do not matter.
    service_account : str or None
        None is that of the namespace; only the driver gets its token.
    """

    cpu: str | None = None
    memory: str = "2Gi"
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    config_maps: tuple[str, ...] = ()
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[str, ...] = ()
    service_account: str | None = None

    def __post_init__(self) -> None:
        for name in ("secrets", "config_maps", "tolerations"):
            object.__setattr__(self, name, _words(getattr(self, name)))
        if is_number(self.cpu):
            object.__setattr__(self, "cpu", str(self.cpu))

    @property
    def memory_bytes(self) -> int:
        """The memory as a number."""
        return in_bytes(self.memory)

    def problems(self, of: str) -> list[str]:
        """Name every problem; ``of`` is what these pods are called."""
        found = [
            *_matching(self, of, _MEMORY, "such as 4Gi", "memory"),
            *_least_memory(self, of),
            *_matching(self, of, _CPU, "such as 2 or 500m", "cpu"),
            *_matching(self, of, _NAME, "the name of a service account", "service_account"),
        ]
        found += [*_tables(self, of), *_secret_variables(self, of)]
        found += [*_names(self, of, "secrets"), *_names(self, of, "config_maps")]
        if not _is_words(self.tolerations):
            return [*found, f"{of}.tolerations must be a list of texts, found {self.tolerations!r}"]
        for toleration in self.tolerations:
            if not _is_toleration(toleration):
                found.append(
                    f"{of}.tolerations must be KEY=VALUE:EFFECT, {_OF_LABELS}, with the effect one "
                    f"of {', '.join(EFFECTS)}; found {toleration!r}"
                )
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesOptions:
    """A Dask cluster on Kubernetes: its image, its pods, and how long it stays.

    Parameters
    ----------
    image : str or None
        Runs scheduler and workers; there is no cluster without.
    namespace : str or None
        None is that of the kubeconfig's context, or of the pod that this runs in.
    name : str or None
        Of the cluster. One that exists is used and left; None makes one under a name of its own.
    scheduler, worker, driver : PodOptions
        The driver's count where it is a pod as well (``daskcast k8s``).
    pull_secrets : tuple of str
        For the image.
    spot : str or None
        ``LABEL=VALUE`` of nodes that may go at any time: workers tolerate and prefer them,
        scheduler and driver keep away.
    idle_timeout : int
        Seconds without work after which the operator removes the cluster.
    adaptive : str or None
        ``MIN:MAX`` workers, by what there is to do; None keeps their number.
    start_timeout : float
        Seconds that scheduler and first worker may take, while nodes are made for them.

    Raises
    ------
    ConfigError
        Names every problem at once.
    """

    image: str | None = None
    namespace: str | None = None
    name: str | None = None
    scheduler: PodOptions = field(default_factory=lambda: PodOptions(cpu="1"))
    worker: PodOptions = field(default_factory=PodOptions)
    driver: PodOptions = field(default_factory=lambda: PodOptions(cpu="1"))
    pull_secrets: tuple[str, ...] = ()
    spot: str | None = None
    idle_timeout: int = 900
    adaptive: str | None = None
    start_timeout: float = 600

    def __post_init__(self) -> None:
        object.__setattr__(self, "pull_secrets", _words(self.pull_secrets))
        problems = [
            *_matching(self, "kubernetes", _IMAGE, "an image, such as HOST/NAME:TAG", "image"),
            *_matching(self, "kubernetes", _NAME, "the name of a namespace", "namespace"),
            *_matching(self, "kubernetes", _CLUSTER_NAME, "a name of a to z, 0 to 9 and -", "name"),
            *_matching(self, "kubernetes", _RANGE, "MIN:MAX, such as 4:40", "adaptive"),
            *_matching(self, "kubernetes", _LABEL_PAIR, f"LABEL=VALUE, {_OF_LABELS}", "spot"),
            *_names(self, "kubernetes", "pull_secrets"),
            *at_least(self, 1, "idle_timeout"),
            *at_most(self, MOST_S, "idle_timeout"),
            *seconds(self, "start_timeout"),
            *self.scheduler.problems("scheduler"),
            *self.worker.problems("worker"),
            *self.driver.problems("driver"),
        ]
        if not problems and self.adaptive and not 1 <= self.least <= self.most:
            problems.append(
                f"adaptive must be MIN:MAX with MIN at least 1 and at most MAX, found "
                f"{self.adaptive}"
            )
        if problems:
            raise ConfigError(*problems)

    @property
    def least(self) -> int:
        """Fewest workers of an adaptive cluster; 0 where it is none."""
        return int((self.adaptive or "0:").partition(":")[0])

    @property
    def most(self) -> int:
        """Most workers of an adaptive cluster; 0 where it is none."""
        return int((self.adaptive or ":0").partition(":")[2])

    @classmethod
    def of(cls, given: Self | Mapping[str, Any] | None) -> Self:
        """Build from plain values, as they stand in a TOML file; unknown names are refused.

        Examples
        --------
        >>> KubernetesOptions.of({"image": "daskcast:1", "worker": {"memory": "8Gi"}}).worker.memory
        '8Gi'
        """
        if isinstance(given, cls):
            return given
        if given is not None and not isinstance(given, Mapping):
            raise ConfigError(f"kubernetes must be a table of options, found {given!r}")
        values = {str(name).replace("-", "_"): value for name, value in (given or {}).items()}
        default = cls()
        problems = _unknown("kubernetes", values, cls)
        for part in ("scheduler", "worker", "driver"):
            asked = values.get(part, {})
            if not isinstance(asked, Mapping):
                problems.append(f"kubernetes.{part} must be a table, found {asked!r}")
                continue
            named = {str(name).replace("-", "_"): value for name, value in asked.items()}
            problems += _unknown(f"kubernetes.{part}", named, PodOptions)
            if not problems:
                values[part] = dataclasses.replace(getattr(default, part), **named)
        if problems:
            raise ConfigError(*problems)
        return cls(**values)


def secrets_of(texts: Mapping[str, str]) -> list[str]:
    """Name what is a secret: by its name, in a URI or in a connection string.

    Examples
    --------
    >>> secrets_of({"DB_PASSWORD": "x", "REGION": "eu", "PROXY": "http://me:pw@host"})
    ['DB_PASSWORD', 'PROXY']
    """
    hidden = redacted_tags(texts)
    return [n for n, text in texts.items() if hidden[n] != text or lines_with_secrets(text)]


def in_bytes(memory: str) -> int:
    """Read an amount of memory as Kubernetes writes it.

    Examples
    --------
    >>> in_bytes("1.5Gi"), in_bytes("500M")
    (1610612736, 500000000)
    """
    read = _MEMORY.fullmatch(memory)
    if read is None:
        raise ConfigError(f"memory must be an amount such as 4Gi, found {memory!r}")
    return round(float(read[1]) * UNITS[read[2]])


def read_toleration(text: str) -> dict[str, str]:
    """Read ``KEY=VALUE:EFFECT`` as Kubernetes has it.

    Examples
    --------
    >>> read_toleration("spot=true:NoSchedule")
    {'key': 'spot', 'operator': 'Equal', 'value': 'true', 'effect': 'NoSchedule'}
    >>> read_toleration("spot")
    {'key': 'spot', 'operator': 'Exists'}
    """
    read = _TOLERATION.fullmatch(text)
    assert read is not None, text
    key, value, effect = read.groups()
    matched = {"operator": "Exists"} if value is None else {"operator": "Equal", "value": value}
    return {"key": key, **matched, **({"effect": effect} if effect else {})}


def _is_toleration(text: str) -> bool:
    read = _TOLERATION.fullmatch(text)
    if read is None:
        return False
    key, value, effect = read.groups()
    sound = _LABELLED.fullmatch(key) and _LABEL.fullmatch(value or "")
    return bool(sound) and effect in (None, *EFFECTS)


def _least_memory(pod: PodOptions, of: str) -> list[str]:
    sound = isinstance(pod.memory, str) and _MEMORY.fullmatch(pod.memory)
    if not sound or pod.memory_bytes >= in_bytes(_LEAST_MEMORY):
        return []
    return [f"{of}.memory must be {_LEAST_MEMORY} at least, with its unit; found {pod.memory!r}"]


def _words(given: Any) -> Any:
    if isinstance(given, str):
        return tuple(word.strip() for word in given.split(",") if word.strip())
    return tuple(given) if isinstance(given, list | set) else given


def _is_words(given: Any) -> bool:
    return isinstance(given, tuple) and all(isinstance(word, str) for word in given)


def _names(options: Any, of: str, name: str) -> list[str]:
    """Check a list of names of objects in Kubernetes."""
    given = getattr(options, name)
    if _is_words(given) and all(_SECRET.fullmatch(word) for word in given):
        return []
    return [
        f"{of}.{name} must be names of a to z, 0 to 9, - and . as Kubernetes takes them; found "
        f"{given!r}"
    ]


def _tables(pod: PodOptions, of: str) -> list[str]:
    """Check the environment and the labels of nodes."""
    found = []
    for name, table, keys, texts in (
        ("env", pod.env, _VARIABLE, _TEXT),
        ("node_selector", pod.node_selector, _LABELLED, _LABEL),
    ):
        if not isinstance(table, Mapping):
            found.append(f"{of}.{name} must be a table, found {table!r}")
            continue
        for key, text in table.items():
            sound = isinstance(key, str) and isinstance(text, str)
            if not (sound and keys.fullmatch(key) and texts.fullmatch(text)):
                shown = "***" if is_secret_name(str(key)) else repr(text)
                found.append(
                    f"{of}.{name} must hold names and texts that Kubernetes takes (numbers in "
                    f"quotes); found {key!r} = {shown}"
                )
    if isinstance(pod.env, Mapping) and (taken := [name for name in RESERVED if name in pod.env]):
        found.append(
            f"{of}.env must leave what tells a pod where it belongs to the operator; leave "
            f"{', '.join(taken)} away"
        )
    return found


def _secret_variables(pod: PodOptions, of: str) -> list[str]:
    """Refuse what would put a secret into a manifest; say where it is, and not what it is."""
    if not isinstance(pod.env, Mapping):
        return []
    texts = {name: text for name, text in pod.env.items() if _is_words((name, text))}
    if not (found := secrets_of(texts)):
        return []
    return [
        f"a credential in {of}.env would stand in a manifest ({', '.join(found)}): make a Secret "
        f"of it with kubectl create secret, and name that in {of}.secrets"
    ]


def _matching(
    options: Any, of: str, pattern: re.Pattern[str], called: str, *names: str
) -> list[str]:
    """Check that values, where given, are text of a form."""
    found = ((name, getattr(options, name)) for name in names)
    return [
        f"{of}.{name} must be {called}; found {value!r}"
        for name, value in found
        if value is not None and not (isinstance(value, str) and pattern.fullmatch(value))
    ]


def _unknown(of: str, given: Mapping[str, Any], cls: type[Any]) -> list[str]:
    known = {f.name for f in dataclasses.fields(cls)}
    unknown = sorted(set(given) - known)
    if not unknown:
        return []
    return [f"{of} has unknown options {', '.join(unknown)}; known are {', '.join(sorted(known))}"]
