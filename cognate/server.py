"""Runs the API on a socket of its own, in the foreground or in a thread."""

from __future__ import annotations

import logging
import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.config import ApiConfig, stored_digest
from cognate import __version__
from cognate.http_head import BoundedHead
from cognate.settings import ANY_ORIGIN, LOOPBACK_HOSTS, Backend, Precision, Settings
from core.errors import StartRefused
from core.memory import keep_for_good
from core.services import Services

log = logging.getLogger(__name__)

GRACE_S = 20
PRECISIONS = {Backend.CUDA: Precision.BF16, Backend.TORCH: Precision.F32}  # of those that have no choice


def make_app(services: Services, settings: Settings) -> FastAPI:
    hashes = tuple(stored_digest(key) for key in settings.keys)
    config = ApiConfig(
        version=__version__,
        key_hashes=hashes,
        allowed_hosts=() if hashes else LOOPBACK_HOSTS,
        cors_origins=settings.origins,
        max_body_bytes=settings.max_body_bytes,
        max_upload_bytes=settings.max_upload_bytes,
        wait_limit_s=settings.wait_limit_s,
        default_classifier=settings.default_classifier,
        precision=PRECISIONS.get(settings.backend, settings.precision),
    )
    return create_app(services, config)


def bind(settings: Settings) -> socket.socket:
    """A listening socket. Raises StartRefused when binding would be unsafe or is impossible."""
    if not settings.is_loopback and not settings.keys:
        raise StartRefused(
            f"Binding to {settings.host} would open the service to the network without any API key. Set"
            " COGNATE_API_KEYS (clients send 'Authorization: Bearer <key>'), or bind to 127.0.0.1."
        )
    if ANY_ORIGIN in settings.origins and not settings.keys:
        raise StartRefused(
            "COGNATE_CORS_ORIGINS is *, which without any API key would let every web page that is opened on"
            " this machine read and change everything. Name the origins of your pages, or set"
            " COGNATE_API_KEYS."
        )
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise StartRefused(
            f"Cannot bind {settings.host}:{settings.port}: {error.strerror}. Choose another with --host or"
            " --port (COGNATE_HOST, COGNATE_PORT), or stop what runs there."
        ) from None
    listener.set_inheritable(True)
    return listener


def url_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve_forever(app: FastAPI, listener: socket.socket) -> None:
    """Serves until SIGINT or SIGTERM, then lets running requests finish."""

    def end(_signal: int, _frame: FrameType | None) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    keep_for_good()
    _server(app).run(sockets=[listener])


class ServerThread:
    """The API in a thread, for the demo: the main thread stays free."""

    def __init__(self, app: FastAPI, listener: socket.socket) -> None:
        self._server = _server(app)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listener]}, name="http")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()


class _Server(uvicorn.Server):
    """Ends event streams and `wait=true` first: one of them would hold up the stop until its job ends.

    The threads of searches end last.
    """

    def __init__(
        self, config: uvicorn.Config, end_streams: Callable[[], None], end_threads: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._end_streams, self._end_threads = end_streams, end_threads

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._end_streams()
        await super().shutdown(sockets)
        self._end_threads()


def _server(app: FastAPI) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        http=BoundedHead,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=75,
        server_header=False,
    )
    return _Server(config, app.state.job_feed.close, app.state.searchers.close)
