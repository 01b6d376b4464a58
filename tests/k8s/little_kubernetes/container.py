"""A container: a local process in a process group of its own.

Covers: pulling the image, waiting for what its configuration names, the process, its log and that
of its predecessor, probes, restarts with back-off, the memory limit, its end.
Does not cover: limits of cpu, users and privileges, working directories, lifecycle hooks.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import probes
from .environment import ConfigError, Volumes, environment, expanded, relocated
from .events import Recorder
from .images import Image, command_of, is_image_name
from .logs import Logs
from .objects import Object, key, now, quantity
from .store import Store

_RETRY_S = 0.5
_BACK_OFF_S = (1.0, 10.0)
_MEMORY_EVERY_S = 0.25
_PATH = ["/usr/local/bin", "/usr/bin", "/bin"]


@dataclass(frozen=True)
class Sandbox:
    """What the containers of a pod share."""

    pod: Object
    address: str
    folder: Path
    logs: Logs
    env: dict[str, str]
    images: dict[str, Image]
    store: Store
    recorder: Recorder
    changed: Callable[[], None]


class Container:
    """One container of a pod, with its status as a pod's status tells it."""

    def __init__(self, sandbox: Sandbox, spec: Object, policy: str) -> None:
        self.spec = spec
        self.name = spec["name"]
        self.status: Object = {
            "name": self.name,
            "image": spec.get("image", ""),
            "imageID": "",
            "ready": False,
            "started": False,
            "restartCount": 0,
            "state": {"waiting": {"reason": "ContainerCreating"}},
            "lastState": {},
        }
        self._sandbox = sandbox
        self._policy = policy
        self._process: asyncio.subprocess.Process | None = None
        self._killed_for = ""
        self._is_ending = False

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def run(self, volumes: Volumes) -> None:
        """Run until it has ended and is not to be restarted."""
        image = await self._pull()
        back_off_s, longest_s = _BACK_OFF_S
        while True:
            command, env = await self._configured(image, volumes)
            started_at = now()
            code, reason, message = await self._execute(command, env)
            end = {"exitCode": code, "reason": reason, "startedAt": started_at, "finishedAt": now()}
            end |= {"message": message} if message else {}
            self.status |= {"ready": False, "started": False}
            if (
                self._is_ending
                or self._policy == "Never"
                or (self._policy, code) == ("OnFailure", 0)
            ):
                self._set_state({"terminated": end})
                return
            self.status["lastState"] = {"terminated": end}
            self.status["restartCount"] += 1
            message = self._restarting(back_off_s)
            self._wait_for("CrashLoopBackOff", message, message, reason_of_event="BackOff")
            await asyncio.sleep(back_off_s)
            back_off_s = min(back_off_s * 2, longest_s)

    def end(self) -> None:
        """Ask the first process to end, and do not restart it."""
        self._is_ending = True
        if self.is_running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGTERM)

    def kill(self, reason: str = "") -> None:
        """Kill all processes at once."""
        self._killed_for = self._killed_for or reason
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _pull(self) -> Image:
        name = self.spec.get("image", "")
        if not is_image_name(name):
            problem = f'couldn\'t parse image name "{name}": invalid reference format'
            text = f'Failed to apply default image tag "{name}": {problem}'
            self._wait_for("InvalidImageName", text, text, reason_of_event="InspectFailed")
            await asyncio.Event().wait()
        n_failed = 0
        problem = f'rpc error: code = NotFound desc = failed to pull image "{name}": not found'
        while (image := self._sandbox.images.get(name)) is None:
            if n_failed == 0:
                self._wait_for("ErrImagePull", problem, f'Failed to pull image "{name}": {problem}')
            elif n_failed == 1:
                text = f'Back-off pulling image "{name}"'
                message = f"{text}: ErrImagePull: {problem}"
                self._wait_for("ImagePullBackOff", message, text, reason_of_event="BackOff")
            n_failed += 1
            await asyncio.sleep(_RETRY_S)
        return image

    async def _configured(self, image: Image, volumes: Volumes) -> tuple[list[str], dict[str, str]]:
        """Give the command line and the environment, once all they name is there."""
        while True:
            try:
                return self._configure(image, volumes)
            except ConfigError as err:
                self._wait_for("CreateContainerConfigError", str(err), f"Error: {err}")
                await asyncio.sleep(_RETRY_S)

    def _configure(self, image: Image, volumes: Volumes) -> tuple[list[str], dict[str, str]]:
        sandbox = self._sandbox
        own = environment(sandbox.store, sandbox.pod, self.spec)
        mounts = volumes.mounts(self.spec)
        env = sandbox.env | {"PATH": os.pathsep.join([*image.path, *_PATH])} | image.env
        if "/tmp" in mounts:
            env["TMPDIR"] = mounts["/tmp"]
        env |= {name: relocated(value, mounts) for name, value in own.items()}
        places = [sandbox.env["PYTHONPATH"], own.get("PYTHONPATH") or image.env.get("PYTHONPATH")]
        env["PYTHONPATH"] = os.pathsep.join(filter(None, places))
        command = [relocated(expanded(w, env), mounts) for w in command_of(image, self.spec)]
        if not command:
            raise ConfigError("no command specified")
        return command, env

    async def _execute(self, command: list[str], env: dict[str, str]) -> tuple[int, str, str]:
        """Run the process to its end; give its exit code, the reason and a message."""
        program = shutil.which(command[0], path=env["PATH"])
        if program is None:
            problem = f'exec: "{command[0]}": executable file not found in $PATH'
            self._sandbox.recorder.warning("kubelet", self._sandbox.pod, "Failed", problem)
            return 128, "StartError", problem
        self._killed_for = ""
        self._process = await self._spawn([program, *command[1:]], env)
        self.status |= {"started": True, "ready": "readinessProbe" not in self.spec}
        self._set_state({"running": {"startedAt": now()}})
        self._sandbox.recorder.normal(
            "kubelet", self._sandbox.pod, "Started", f"Started container {self.name}"
        )
        watchers = [asyncio.create_task(self._watch_memory())]
        watchers.append(asyncio.create_task(self._watch_readiness()))
        watchers.append(asyncio.create_task(self._watch_liveness()))
        try:
            code = await self._process.wait()
        finally:
            for watcher in watchers:
                watcher.cancel()
            self.kill()  # a container ends with its first process
        await asyncio.gather(*watchers, return_exceptions=True)
        self._process = None
        code = code if code >= 0 else 128 - code
        return code, self._killed_for or ("Completed" if code == 0 else "Error"), ""

    async def _spawn(self, command: list[str], env: dict[str, str]) -> asyncio.subprocess.Process:
        guard = shutil.which("setpriv")  # ends the process with this one, whatever happens
        prefix = [guard, "--pdeathsig", "KILL", "--"] if guard else []
        with self._sandbox.logs.open(*key(self._sandbox.pod), self.name) as out:
            return await asyncio.create_subprocess_exec(
                *prefix,
                *command,
                env=env,
                cwd=self._sandbox.folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    async def _watch_memory(self) -> None:
        limit = ((self.spec.get("resources") or {}).get("limits") or {}).get("memory")
        while limit:
            if _resident(self._process.pid) > quantity(limit):
                self.kill("OOMKilled")
            await asyncio.sleep(_MEMORY_EVERY_S)

    async def _watch_readiness(self) -> None:
        if probe := self.spec.get("readinessProbe"):
            async for is_well, why in probes.outcomes(probe, self.spec, self._sandbox.address):
                if is_well != self.status["ready"]:
                    self.status["ready"] = is_well
                    self._sandbox.changed()
                if not is_well:
                    self._tell_unhealthy("Readiness", why)

    async def _watch_liveness(self) -> None:
        if probe := self.spec.get("livenessProbe"):
            async for is_well, why in probes.outcomes(probe, self.spec, self._sandbox.address):
                if not is_well:
                    self._tell_unhealthy("Liveness", why)
                    message = f"Container {self.name} failed liveness probe, will be restarted"
                    self._sandbox.recorder.normal("kubelet", self._sandbox.pod, "Killing", message)
                    self.kill()

    def _tell_unhealthy(self, kind: str, why: str) -> None:
        message = f"{kind} probe failed: {why}"
        self._sandbox.recorder.warning("kubelet", self._sandbox.pod, "Unhealthy", message)

    def _restarting(self, back_off_s: float) -> str:
        meta = self._sandbox.pod["metadata"]
        where = f"pod={meta['name']}_{meta['namespace']}({meta['uid']})"
        return f"back-off {back_off_s:g}s restarting failed container={self.name} {where}"

    def _wait_for(
        self, reason: str, message: str, event: str, reason_of_event: str = "Failed"
    ) -> None:
        self._set_state({"waiting": {"reason": reason, "message": message}})
        self._sandbox.recorder.warning("kubelet", self._sandbox.pod, reason_of_event, event)

    def _set_state(self, state: Object) -> None:
        self.status["state"] = state
        self._sandbox.changed()


def _resident(pid: int) -> int:
    """Give the bytes of memory of a process and its descendants."""
    total, found = 0, [pid]
    while found:
        process = Path(f"/proc/{found.pop()}")
        with contextlib.suppress(OSError):
            total += int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
            for children in process.glob("task/*/children"):
                found += map(int, children.read_text().split())
    return total
