"""Probes of containers.

Covers: httpGet for readiness and liveness; delays, periods and thresholds. Until its first
success, a probe is tried more often than its period says; how long it may fail is as it says.
Does not cover: other kinds of probes, success thresholds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import aiohttp

from .network import port_number
from .objects import Object

_EAGER_S = 0.2


async def outcomes(
    probe: Object, container: Object, address: str
) -> AsyncIterator[tuple[bool, str]]:
    """Give whether the container is well each time that this is settled, and why not."""
    await asyncio.sleep(probe.get("initialDelaySeconds") or 0)
    period_s = probe.get("periodSeconds") or 10
    n_allowed = probe.get("failureThreshold") or 3
    was_well, failing_since = False, None
    while True:
        why = await _failure(probe, container, address)
        was_well = was_well or not why
        failing_since = (failing_since or time.monotonic()) if why else None
        patience_s = period_s * (n_allowed - was_well)
        if failing_since is None or time.monotonic() - failing_since >= patience_s:
            yield not why, why
        await asyncio.sleep(period_s if was_well else min(_EAGER_S, period_s))


async def _failure(probe: Object, container: Object, address: str) -> str:
    """Try once; give what went wrong, or nothing."""
    try:
        async with asyncio.timeout(probe.get("timeoutSeconds") or 1):
            return await _get(probe["httpGet"], container, address)
    except (OSError, aiohttp.ClientError, ValueError) as err:
        return str(err) or type(err).__name__


async def _get(request: Object, container: Object, address: str) -> str:
    port = port_number(request["port"], [container])
    url = f"http://{address}:{port}{request.get('path') or '/'}"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        is_well = 200 <= answer.status < 400
        return "" if is_well else f"HTTP probe failed with statuscode: {answer.status}"
