"""Probes of containers.

Covers: httpGet, tcpSocket and exec, for start-up, readiness and liveness; delays, periods and
thresholds. Until its first success, a probe is tried more often than its period
says; how long it may fail is as it says.
Does not cover: gRPC, success thresholds.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp

from .network import port_number
from .objects import Object

_EAGER_S = 0.2


@dataclass(frozen=True)
class Surroundings:
    """Where the container is that is probed."""

    container: Object
    address: str
    env: dict[str, str]
    folder: str


async def outcomes(probe: Object, where: Surroundings) -> AsyncIterator[tuple[bool, str]]:
    """Give whether the container is well each time that this is settled, and why not."""
    await asyncio.sleep(probe.get("initialDelaySeconds") or 0)
    period_s = probe.get("periodSeconds") or 10
    n_allowed = probe.get("failureThreshold") or 3
    was_well, failing_since = False, None
    while True:
        why = await _failure(probe, where)
        was_well = was_well or not why
        failing_since = (failing_since or time.monotonic()) if why else None
        patience_s = period_s * (n_allowed - was_well)
        if failing_since is None or time.monotonic() - failing_since >= patience_s:
            yield not why, why
        await asyncio.sleep(period_s if was_well else min(_EAGER_S, period_s))


async def _failure(probe: Object, where: Surroundings) -> str:
    """Try once; give what went wrong, or nothing."""
    try:
        async with asyncio.timeout(probe.get("timeoutSeconds") or 1):
            if "httpGet" in probe:
                return await _get(probe["httpGet"], where)
            if "tcpSocket" in probe:
                return await _connect(probe["tcpSocket"], where)
            return await _execute(probe["exec"]["command"], where)
    except (OSError, aiohttp.ClientError, ValueError) as err:
        return str(err) or type(err).__name__


async def _get(request: Object, where: Surroundings) -> str:
    port = port_number(request["port"], [where.container])
    scheme = request.get("scheme", "HTTP").lower()
    url = f"{scheme}://{where.address}:{port}{request.get('path') or '/'}"
    async with aiohttp.ClientSession() as session, session.get(url, ssl=False) as answer:
        is_well = 200 <= answer.status < 400
        return "" if is_well else f"HTTP probe failed with statuscode: {answer.status}"


async def _connect(request: Object, where: Surroundings) -> str:
    port = port_number(request["port"], [where.container])
    _, writer = await asyncio.open_connection(where.address, port)
    writer.close()
    return ""


async def _execute(command: list[str], where: Surroundings) -> str:
    process = await asyncio.create_subprocess_exec(
        *("/usr/bin/env", *command),
        env=where.env,
        cwd=where.folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        code = await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return "" if code == 0 else f"command exited with {code}"
