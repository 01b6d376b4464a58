"""Jobs and CronJobs: pods that end.

Covers: completions and parallelism, backoffLimit, activeDeadlineSeconds, podFailurePolicy on
exit codes and on disruptions, ttlSecondsAfterFinished, suspend; a CronJob that is triggered.
Does not cover: the clock of CronJobs, indexed Jobs, success policies.

A pod that goes away before its end, as on a preempted node, counts as disrupted.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, field

from .controllers import Controller
from .events import Recorder
from .objects import (
    Object,
    is_done,
    is_leaving,
    is_ready,
    now,
    owner_reference,
    phase,
    seconds_since,
    with_condition,
)
from .registry import Registry

_RETRY_S = 1.0


@dataclass
class _Memory:
    """What is remembered of a Job: the pods that ran, and the failures that were counted."""

    active: dict[str, Object] = field(default_factory=dict)
    judged: set[str] = field(default_factory=set)
    n_failed: int = 0
    retry_at: float = 0


@dataclass(frozen=True)
class _Failure:
    pod: Object
    is_disruption: bool = False


class JobController(Controller):
    """Runs the pods of Jobs until enough of them succeed, or too many fail."""

    resources = ("jobs.batch", "pods")
    source = "job-controller"
    every_s = 0.5

    def __init__(self, registry: Registry, recorder: Recorder) -> None:
        super().__init__(registry, recorder)
        self._memories: dict[str, _Memory] = {}

    def sync(self) -> None:
        for job in self.store.list("jobs.batch"):
            if is_leaving(job):
                continue
            if _end(job):
                self._clean(job)
            else:
                self._sync(job)

    def _sync(self, job: Object) -> None:
        memory = self._memories.setdefault(job["metadata"]["uid"], _Memory())
        pods = self.owned("pods", job)
        active = [pod for pod in pods if not is_done(pod) and not is_leaving(pod)]
        reason = self._judge(job, memory, pods, active) or _overdue(job)
        n_succeeded = sum(phase(pod) == "Succeeded" for pod in pods)
        status = {
            "active": len(active),
            "ready": sum(map(is_ready, active)),
            "failed": memory.n_failed,
            "succeeded": n_succeeded,
            "startTime": job.get("status", {}).get("startTime") or now(),
        }
        n_wanted = job["spec"].get("completions", 1)
        if reason:
            self._finish(job, status, "Failed", *reason)
        elif n_succeeded >= n_wanted:
            self._finish(job, status, "Complete", "CompletionsReached", "Reached expected number")
        else:
            self.set_status("jobs.batch", job, **status)
            self._start(job, memory, n_wanted - n_succeeded - len(active), len(active))

    def _start(self, job: Object, memory: _Memory, n_missing: int, n_active: int) -> None:
        spec, name = job["spec"], job["metadata"]["name"]
        n_free = spec.get("parallelism", 1) - n_active
        if spec.get("suspend") or time.monotonic() < memory.retry_at:
            return
        mark = {"batch.kubernetes.io/job-name": name, "job-name": name}
        mark |= {"batch.kubernetes.io/controller-uid": job["metadata"]["uid"]}
        for _ in range(min(n_missing, n_free)):
            if self.create_pod(job, spec["template"], generateName=f"{name}-", labels=mark):
                return
        found = [pod for pod in self.owned("pods", job) if not is_done(pod)]
        memory.active |= {pod["metadata"]["uid"]: pod for pod in found}

    def _judge(
        self, job: Object, memory: _Memory, pods: list[Object], active: list[Object]
    ) -> tuple[str, str] | None:
        """Count what failed since the last time; give the reason if the Job fails by it."""
        current = {pod["metadata"]["uid"]: pod for pod in pods}
        failures = [_Failure(p) for p in pods if phase(p) == "Failed"]
        gone = [pod for uid, pod in memory.active.items() if uid not in current]
        gone += [pod for pod in pods if is_leaving(pod) and not is_done(pod)]
        failures += [_Failure(pod, is_disruption=True) for pod in gone]
        memory.active = {pod["metadata"]["uid"]: pod for pod in active}
        for failure in failures:
            uid = failure.pod["metadata"]["uid"]
            if uid in memory.judged:
                continue
            memory.judged.add(uid)
            action, why = _verdict(job, failure)
            if action == "FailJob":
                memory.n_failed += 1
                return "PodFailurePolicy", why
            if action == "Count":
                memory.n_failed += 1
            memory.retry_at = time.monotonic() + _RETRY_S
        n_restarts = sum(
            status["restartCount"]
            for pod in active
            for status in pod["status"].get("containerStatuses", [])
        )
        if memory.n_failed + n_restarts > job["spec"].get("backoffLimit", 6):
            return "BackoffLimitExceeded", "Job has reached the specified backoff limit"
        return None

    def _finish(self, job: Object, status: Object, kind: str, reason: str, message: str) -> None:
        if kind == "Failed":
            pods = [pod for pod in self.owned("pods", job) if not is_done(pod)]
            self.delete_pods(pods)
            self.recorder.warning(self.source, job, reason, message)
        else:
            status = status | {"completionTime": now()}
            self.recorder.normal(self.source, job, "Completed", "Job completed")
        more = {"reason": reason, "message": message}
        first = "FailureTarget" if kind == "Failed" else "SuccessCriteriaMet"
        conditions = with_condition(job, first, True, **more)
        conditions += with_condition({}, kind, True, **more)
        self.set_status("jobs.batch", job, **status, conditions=conditions)

    def _clean(self, job: Object) -> None:
        end, ttl_s = _end(job), job["spec"].get("ttlSecondsAfterFinished")
        if ttl_s is not None and seconds_since(end["lastTransitionTime"]) >= ttl_s:
            meta = job["metadata"]
            self.store.delete("jobs.batch", meta["namespace"], meta["name"])

    def trigger(self, namespace: str, name: str) -> Object | None:
        """Make the Job of a CronJob as if its time had come; None where its policy forbids it."""
        cron = self.store.get("cronjobs.batch", namespace, name)
        running = [job for job in self.owned("jobs.batch", cron) if not _end(job)]
        policy = cron["spec"].get("concurrencyPolicy", "Allow")
        if running and policy == "Forbid":
            message = "Not starting job because prior execution is running"
            self.recorder.normal("cronjob-controller", cron, "JobAlreadyActive", message)
            return None
        for job in running if policy == "Replace" else []:
            self.store.delete("jobs.batch", namespace, job["metadata"]["name"])
        body = copy.deepcopy(cron["spec"]["jobTemplate"])
        minute = int(time.time() / 60)
        while self.store.find("jobs.batch", namespace, f"{name}-{minute}"):
            minute += 1
        meta = body.setdefault("metadata", {})
        meta |= {"name": f"{name}-{minute}", "ownerReferences": [owner_reference(cron)]}
        job = self.registry.create("jobs.batch", body, namespace)
        self.set_status("cronjobs.batch", cron, lastScheduleTime=now())
        message = f"Created job {job['metadata']['name']}"
        self.recorder.normal("cronjob-controller", cron, "SuccessfulCreate", message)
        return job


def _end(job: Object) -> Object | None:
    conditions = job.get("status", {}).get("conditions") or []
    return next((c for c in conditions if c["type"] in ("Complete", "Failed")), None)


def _overdue(job: Object) -> tuple[str, str] | None:
    limit_s = job["spec"].get("activeDeadlineSeconds")
    start = job.get("status", {}).get("startTime")
    if limit_s and start and seconds_since(start) > limit_s:
        return "DeadlineExceeded", "Job was active longer than specified deadline"
    return None


def _verdict(job: Object, failure: _Failure) -> tuple[str, str]:
    """Give the action of the first rule that matches a failed pod, and why."""
    rules = (job["spec"].get("podFailurePolicy") or {}).get("rules") or []
    meta = failure.pod["metadata"]
    for index, rule in enumerate(rules):
        found = _disruption(rule, failure) or _exit_code(rule, failure)
        if found:
            where = f"for pod {meta['namespace']}/{meta['name']}"
            action = rule["action"]
            return action, f"{found.format(where)} matching {action} rule at index {index}"
    return "Count", ""


def _disruption(rule: Object, failure: _Failure) -> str:
    types = [c["type"] for c in rule.get("onPodConditions") or []]
    is_match = failure.is_disruption and "DisruptionTarget" in types
    return "Condition DisruptionTarget {}" if is_match else ""


def _exit_code(rule: Object, failure: _Failure) -> str:
    wanted = rule.get("onExitCodes")
    if not wanted or failure.is_disruption:
        return ""
    for status in failure.pod["status"].get("containerStatuses", []):
        code = status["state"].get("terminated", {}).get("exitCode", 0)
        is_named = wanted.get("containerName") in (None, status["name"])
        if is_named and code and (code in wanted["values"]) == (wanted["operator"] == "In"):
            return f"Container {status['name']} {{}} failed with exit code {code}"
    return ""
