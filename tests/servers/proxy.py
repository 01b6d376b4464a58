"""A server before MLflow that counts requests, and misbehaves where it is told to."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import threading

REFUSALS = {
    401: b"You are not authenticated. Please see the documentation.",
    403: b'{"error_code": "PERMISSION_DENIED", "message": "Permission denied"}',
    429: b"slow down",
    500: b'{"error_code": "INTERNAL_ERROR", "message": "boom"}',
    503: b"busy",
}


class Proxy:
    """A server between the tracker and MLflow that counts requests, and can misbehave.

    ``fault`` is asked for each request, with its number and path: None lets it through, a number
    is answered as a status, a status with a body as they are, ``"hang"`` is never answered,
    ``"drop"`` closes the connection, ``"lose"`` does so once the request is done.
    """

    def __init__(self, target: str) -> None:
        self.target = target.removeprefix("http://")
        self.requests: list[tuple[str, str]] = []
        self.authorizations: set[str | None] = set()
        self.fault = lambda *_: None
        self.retry_after = ""
        self.ended = threading.Event()
        self._lock = threading.Lock()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Stop to listen, as a server that was killed."""
        if not self.ended.is_set():
            self.ended.set()
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(30)

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        path = handler.path.partition("?")[0]
        with self._lock:
            self.requests.append((handler.command, path))
            self.authorizations.add(handler.headers["Authorization"])
            number = len(self.requests)
        fault = self.fault(number, path)
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        if fault == "hang":
            self.ended.wait(30)
        if fault == "lose":
            self._forward(handler, body)
        if fault in ("hang", "drop", "lose"):
            handler.close_connection = True
            handler.connection.close()
            return
        if isinstance(fault, int):
            fault = fault, REFUSALS[fault]
        status, data = fault or self._forward(handler, body)
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        if fault and self.retry_after:
            handler.send_header("Retry-After", self.retry_after)
        handler.end_headers()
        handler.wfile.write(data)

    def _forward(
        self, handler: http.server.BaseHTTPRequestHandler, body: bytes
    ) -> tuple[int, bytes]:
        onward = http.client.HTTPConnection(self.target, timeout=60)
        kept = ("Content-Type", "Authorization")
        headers = {name: handler.headers[name] for name in kept if handler.headers[name]}
        onward.request(handler.command, handler.path, body, headers)
        answer = onward.getresponse()
        found = answer.status, answer.read()
        onward.close()
        return found

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                # A client that has given up is no trouble here.
                with contextlib.suppress(OSError):
                    proxy.answer(self)

            do_GET = do_PUT = do_PATCH = do_POST

            def log_message(self, *args: object) -> None:
                """Stay quiet."""

        return Handler
