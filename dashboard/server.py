"""What the server does beside running the pages: it starts warm and quick, and opens a browser.

Streamlit runs the script only when a browser has loaded its own code; what can be done before is
done here while that happens.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import socket
import stat
import threading
import webbrowser
from collections.abc import AsyncIterator
from pathlib import Path

import plotly
import streamlit as st
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit.web.server.server_util import get_url

from dashboard.components import PLOTLY_ADDRESS, SERVED

PLOTLY_FILE = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
FIRST_VISIT = (
    "dashboard.shell",
    "dashboard.cards.follow",
    "dashboard.cards.candidates",
    "dashboard.cards.changes",
    "streamlit.emojis",
)
"""Modules that are imported by the time a browser asks for the page."""

OPEN_FILES = Path("/proc/self/fd"), Path("/dev/fd")


@contextlib.asynccontextmanager
async def lifespan(_app: st.App) -> AsyncIterator[None]:
    """Around the life of the server."""
    send_at_once()
    SERVED.set()
    if not st.get_option("server.headless"):
        # Streamlit does so itself for plain scripts only; a thread, as some browsers keep waiting.
        opening = threading.Thread(target=webbrowser.open, args=(get_url("localhost"),))
        opening.daemon = True
        opening.start()
    threading.Thread(target=_warm, name="warm", daemon=True).start()
    yield


def send_at_once() -> None:
    """Let connections send small messages without waiting for an acknowledgement.

    Streamlit's listening socket names no protocol, so asyncio leaves Nagle's algorithm on
    (https://github.com/Kludex/uvicorn/issues/3149), and every other message waited 40 ms.
    Connections inherit the option from the socket that accepts them.
    """
    folder = next((path for path in OPEN_FILES if path.is_dir()), None)
    for name in os.listdir(folder) if folder is not None else ():
        with contextlib.suppress(OSError, ValueError):
            number = int(name)
            if not stat.S_ISSOCK(os.fstat(number).st_mode):
                continue
            with socket.socket(fileno=os.dup(number)) as copy:
                inet = copy.family in (socket.AF_INET, socket.AF_INET6)
                if inet and copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    copy.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _warm() -> None:
    """Import what the first visit needs, and read the artifacts."""
    for name in FIRST_VISIT:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    from dashboard.known import caches, catalogue, other_methods, searching

    # The one that is shown first; the others would take the interpreter from the first visitor.
    for artifact in list(catalogue.find().artifacts.values())[:1]:
        known = caches.answers(artifact)
        known.front()
        searching.front_soon(artifact, known)
        other_methods.are_known(artifact)


async def _plotly(_request: Request) -> FileResponse:
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable",
        # As Streamlit's own bundles: compressing 5 MB for each visitor takes longer than sending.
        "Content-Encoding": "identity",
    }
    return FileResponse(PLOTLY_FILE, media_type="text/javascript", headers=headers)


class AnnouncePlotly:
    """Tells the browser with each page that it will need Plotly, so that it loads meanwhile."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def announce(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message["headers"])
                if (b"content-type", b"text/html") in ((k, v[:9]) for k, v in headers):
                    link = f"<{PLOTLY_ADDRESS}>; rel=preload; as=script"
                    message = {**message, "headers": [*headers, (b"link", link.encode())]}
            await send(message)

        await self._app(scope, receive, announce if scope["type"] == "http" else send)


ROUTES = [Route(f"/{PLOTLY_ADDRESS}", _plotly)]
MIDDLEWARE = [Middleware(AnnouncePlotly)]
