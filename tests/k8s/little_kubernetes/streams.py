"""What flows between a client and a pod: logs and forwarded ports.

Covers: logs, also as they grow; port-forward of one port over a websocket, as kr8s and the Python
clients speak it.
Does not cover: exec and attach, SPDY (so not ``kubectl port-forward``).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

import aiohttp
from aiohttp import web

from .container import Container
from .errors import bad_request
from .kubelet import Kubelet
from .logs import chosen, written
from .objects import Object, key

_POLL_S = 0.1
_DATA, _ERROR = b"\x00", b"\x01"


async def log_chunks(
    kubelet: Kubelet, pod: Object, query: Mapping[str, str]
) -> AsyncIterator[bytes]:
    """Give the log of a container as far as it is written, and then as it grows."""
    name = _container_name(pod, query.get("container"))
    is_previous = query.get("previous") == "true"
    path = kubelet.logs.file(*key(pod), name, is_previous)
    container = None if is_previous else kubelet.container(*key(pod), name)
    if not path.exists():
        raise bad_request(_no_log(pod, name, container, is_previous))
    n_restarts = container.status["restartCount"] if container else 0
    n_shown, is_first = 0, True
    while True:
        is_growing = container is not None and container.is_running
        is_growing = is_growing and container.status["restartCount"] == n_restarts
        if not is_first and container and container.status["restartCount"] != n_restarts:
            return
        lines = kubelet.logs.lines(path, is_growing)
        fresh = chosen(lines, query) if is_first else lines[n_shown:]
        n_shown, is_first = len(lines), False
        yield written(fresh, query)
        if not is_growing or query.get("follow") != "true":
            return
        await asyncio.sleep(_POLL_S)


def _no_log(pod: Object, container: str, found: Container | None, is_previous: bool) -> str:
    where = f'container "{container}" in pod "{pod["metadata"]["name"]}"'
    if is_previous:
        return f"previous terminated {where} not found"
    waiting = found.status["state"].get("waiting") if found else None
    return f"{where} is waiting to start: {(waiting or {}).get('reason', 'ContainerCreating')}"


def _container_name(pod: Object, wanted: str | None) -> str:
    name, names = pod["metadata"]["name"], [c["name"] for c in pod["spec"]["containers"]]
    if wanted and wanted not in names:
        raise bad_request(f"container {wanted} is not valid for pod {name}")
    if not wanted and len(names) > 1:
        choices = " ".join(names)
        raise bad_request(f"a container name must be specified for pod {name}: [{choices}]")
    return wanted or names[0]


async def forward_port(request: web.Request, pod: Object) -> web.WebSocketResponse:
    """Connect a websocket with a port of a pod until one of them ends."""
    port = int(request.query.get("ports") or request.query.get("port") or 0)
    offered = request.headers.get("Sec-WebSocket-Protocol", "").split(",")
    socket = web.WebSocketResponse(protocols=[p.strip() for p in offered if p], max_msg_size=0)
    await socket.prepare(request)
    for channel in (_DATA, _ERROR):
        await socket.send_bytes(channel + port.to_bytes(2, "little"))
    try:
        reader, writer = await asyncio.open_connection(pod["status"].get("podIP"), port)
    except OSError as err:
        message = f"an error occurred forwarding {port}: {err}"
        await socket.send_bytes(_ERROR + message.encode())
        await socket.close()
        return socket
    down = asyncio.create_task(_to_client(reader, socket))
    try:
        async for message in socket:
            if message.type == aiohttp.WSMsgType.BINARY and message.data[:1] == _DATA:
                writer.write(message.data[1:])
                await writer.drain()
    except ConnectionError:
        pass
    finally:
        down.cancel()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    return socket


async def _to_client(reader: asyncio.StreamReader, socket: web.WebSocketResponse) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(2**16):
            await socket.send_bytes(_DATA + data)
        await socket.close()
