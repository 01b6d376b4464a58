"""The API server: HTTP for what ``registry`` does.

Covers: paths, authentication, authorization, verbs, discovery, watches, access reviews, what flows
to and from pods; a list of all requests for tests to assert on.
Does not cover: PUT and dry runs, which no client here asks for; OpenAPI and tables (kubectl needs
``--validate=false``), protobuf, aggregation.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import yaml
from aiohttp import web

from . import streams
from .errors import ApiError, bad_request, forbidden, no_such_path
from .kubelet import Kubelet
from .objects import Object
from .rbac import Attributes, Authorizer, Tokens, User
from .registry import Registry
from .resources import REVIEWS, Kind, describe
from .selectors import selection
from .watching import Watch

VERSION = {"major": "1", "minor": "35", "gitVersion": "v1.35.0", "platform": "linux/amd64"}
_REMEMBERED = 100_000
_MAX_BODY = 2**26


class Request(NamedTuple):
    """A request that was answered; `resource` is such as ``pods/log`` or ``deployments.apps``."""

    user: str
    verb: str
    resource: str
    namespace: str
    name: str
    code: int


@dataclass(frozen=True)
class Target:
    """What a request is about."""

    kind: Kind
    verb: str
    namespace: str = ""
    name: str = ""
    part: str = ""

    @property
    def attributes(self) -> Attributes:
        where = (self.part, self.namespace, self.name)
        return Attributes(self.verb, self.kind.group, self.kind.plural, *where)

    @property
    def action(self) -> str:
        """The name of what is done: the verb, or the part for parts with verbs of their own."""
        return self.part if self.part not in ("", "status") else self.verb


class Api:
    """Answers requests."""

    def __init__(
        self, registry: Registry, tokens: Tokens, kubelet: Kubelet, watch_delay: float
    ) -> None:
        self.requests: deque[Request] = deque(maxlen=_REMEMBERED)
        self._registry = registry
        self._tokens = tokens
        self._authorizer = Authorizer(registry.store)
        self._kubelet = kubelet
        self._watch_delay = watch_delay
        self._streams: set[asyncio.Task[Any]] = set()
        self._runner: web.AppRunner | None = None

    async def start(self, ssl_context: Any) -> str:
        """Listen on a free port; give the address."""
        app = web.Application(client_max_size=_MAX_BODY)
        app.router.add_route("*", "/{path:.*}", self._handle)
        options = {"shutdown_timeout": 0.5, "access_log": None, "handler_cancellation": True}
        self._runner = web.AppRunner(app, **options)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=ssl_context).start()
        return f"https://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        for task in self._streams:
            task.cancel()
        await asyncio.gather(*self._streams, return_exceptions=True)
        if self._runner:
            await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        user, target = User("system:anonymous"), None
        path = [part for part in request.path.split("/") if part]
        try:
            if path and path[0] in ("healthz", "livez", "readyz"):
                return web.Response(text="ok")
            user = self._tokens.user(request.headers.get("Authorization", ""))
            if path == ["version"]:
                return web.json_response(VERSION)
            found = _parsed(path, request, self._registry.kinds())
            if isinstance(found, dict):
                return web.json_response(found)
            target = found
            answer = await self._answer(request, user, target)
        except ApiError as err:
            self._note(user, target, err.code)
            return web.json_response(err.status(), status=err.code)
        if not answer.prepared:  # what streams noted itself before
            self._note(user, target, answer.status)
        return answer

    def _note(self, user: User, target: Target | None, code: int) -> None:
        if target:
            part = f"/{target.part}" if target.part else ""
            resource = f"{target.kind.resource}{part}"
            where = (target.namespace, target.name)
            self.requests.append(Request(user.name, target.verb, resource, *where, code))

    async def _answer(self, request: web.Request, user: User, target: Target) -> web.StreamResponse:
        if target.kind.resource == REVIEWS:
            return web.json_response(self._review(user, await _body(request)), status=201)
        if not self._authorizer.allows(user, target.attributes):
            name = f' "{target.name}"' if target.name else ""
            raise forbidden(
                f'{target.kind.resource}{name} is forbidden: User "{user.name}" {target.attributes}'
            )
        if target.action in ("watch", "log", "portforward"):
            return await self._stream(request, user, target)
        if target.action == "get":
            return web.json_response(self._registry.store.get(*_where(target)))
        handlers: dict[str, Callable[[web.Request, Target], Awaitable[tuple[Object, int]]]] = {
            "list": self._list,
            "create": self._create,
            "patch": self._patch,
            "delete": self._delete,
            "scale": self._scale,
        }
        if target.action not in handlers:
            raise no_such_path()
        body, code = await handlers[target.action](request, target)
        return web.json_response(body, status=code)

    def _review(self, user: User, body: Object) -> Object:
        wanted = body["spec"].get("resourceAttributes") or {}
        part = wanted.get("subresource", "")
        where = (part, wanted.get("namespace", ""), wanted.get("name", ""))
        names = (wanted.get("verb", ""), wanted.get("group", ""), wanted.get("resource", ""))
        is_allowed = self._authorizer.allows(user, Attributes(*names, *where))
        return body | {"status": {"allowed": is_allowed}}

    async def _stream(self, request: web.Request, user: User, target: Target) -> web.StreamResponse:
        task = asyncio.current_task()
        self._streams.add(task)
        try:
            if target.action == "watch":
                return await self._watch(request, user, target)
            pod = self._registry.store.get("pods", target.namespace, target.name)
            if target.action == "log":
                return await self._log(request, user, target, pod)
            if not pod["status"].get("podIP"):
                raise bad_request(f"pod {target.name} does not have a host assigned")
            self._note(user, target, 101)
            return await streams.forward_port(request, pod)
        finally:
            self._streams.discard(task)

    async def _watch(self, request: web.Request, user: User, target: Target) -> web.StreamResponse:
        query = request.query
        fields = query.get("fieldSelector", "")
        if target.name:
            fields = f"metadata.name={target.name}"
        watch = Watch(
            target.kind,
            target.namespace,
            selection(query.get("labelSelector", ""), fields),
            since=query.get("resourceVersion", ""),
            timeout_s=float(query.get("timeoutSeconds", 3600)),
            delay_s=self._watch_delay,
        )
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        self._note(user, target, 200)
        await answer.prepare(request)
        try:
            async with aclosing(watch.events(self._registry.store)) as events:
                async for event in events:
                    await answer.write(json.dumps(event).encode() + b"\n")
        except ApiError as err:
            event = {"type": "ERROR", "object": err.status()}
            await answer.write(json.dumps(event).encode() + b"\n")
        except ConnectionError:
            pass
        return answer

    async def _log(
        self, request: web.Request, user: User, target: Target, pod: Object
    ) -> web.StreamResponse:
        async with aclosing(streams.log_chunks(self._kubelet, pod, request.query)) as chunks:
            first = await anext(chunks)
            answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
            self._note(user, target, 200)
            await answer.prepare(request)
            with suppress(ConnectionError):
                await answer.write(first)
                async for chunk in chunks:
                    await answer.write(chunk)
        return answer

    async def _list(self, request: web.Request, target: Target) -> tuple[Object, int]:
        query = request.query
        selectors = (query.get("labelSelector", ""), query.get("fieldSelector", ""))
        items = self._registry.list(target.kind.resource, target.namespace, *selectors)
        kind = {"kind": f"{target.kind.kind}List", "apiVersion": target.kind.api_version}
        version = {"resourceVersion": str(self._registry.store.version)}
        return kind | {"metadata": version, "items": items}, 200

    async def _create(self, request: web.Request, target: Target) -> tuple[Object, int]:
        body, resource = await _body(request), target.kind.resource
        return self._registry.create(resource, body, target.namespace), 201

    async def _patch(self, request: web.Request, target: Target) -> tuple[Object, int]:
        patch, kind = await _body(request), request.content_type
        return self._registry.patch(*_where(target), patch, kind, target.part), 200

    async def _delete(self, request: web.Request, target: Target) -> tuple[Object, int]:
        body = await _body(request)
        grace = body.get("gracePeriodSeconds", request.query.get("gracePeriodSeconds"))
        wanted = (body.get("preconditions") or {}).get("uid")
        found = self._registry.store.get(*_where(target))["metadata"]["uid"]
        if wanted not in (None, found):
            message = f"the UID in the precondition ({wanted}) is not that in record ({found})"
            raise ApiError(409, "Conflict", message)
        grace_s = None if grace is None else int(grace)
        return self._registry.store.delete(*_where(target), grace_s), 200

    async def _scale(self, request: web.Request, target: Target) -> tuple[Object, int]:
        if target.verb == "get":
            return self._registry.scale(*_where(target)), 200
        return await self._patch(request, target)


def _where(target: Target) -> tuple[str, str, str]:
    return target.kind.resource, target.namespace, target.name


async def _body(request: web.Request) -> Any:
    raw = await request.read()
    try:
        return (json.loads(raw) if raw[:1] in b"{[" else yaml.safe_load(raw)) or {}
    except (ValueError, yaml.YAMLError) as err:
        raise bad_request(f"the body of the request is neither JSON nor YAML: {err}") from err


def _parsed(path: list[str], request: web.Request, kinds: dict[str, Kind]) -> Target | Object:
    """Give the target of a path, or a discovery document."""
    n_head = 2 if path[:1] == ["api"] else 3
    if path[:1] not in (["api"], ["apis"]):
        raise no_such_path()
    if len(path) <= n_head:
        return describe(path, list(kinds.values()))
    group, version, rest = "" if n_head == 2 else path[1], path[n_head - 1], path[n_head:]
    found = {k.plural: k for k in kinds.values() if (k.group, k.version) == (group, version)}
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] in found:
        namespace, rest = rest[1], rest[2:]
    if rest[0] not in found:
        raise no_such_path()
    name, part = "".join(rest[1:2]), "/".join(rest[2:])
    kind = found[rest[0]]
    if part and part not in (*kind.subresources, *(["status"] if kind.has_status else [])):
        raise no_such_path()
    return Target(kind, _verb(request, name), namespace, name, part)


def _verb(request: web.Request, name: str) -> str:
    if request.method in ("GET", "HEAD"):
        is_watch = request.query.get("watch") in ("true", "1")
        return "watch" if is_watch else "get" if name else "list"
    if request.method == "DELETE":
        return "delete"
    verbs = {"POST": "create", "PATCH": "patch"}
    if request.method not in verbs:
        raise no_such_path()
    return verbs[request.method]
