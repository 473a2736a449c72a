"""The server beside the pages: connections that send at once."""

from __future__ import annotations

import socket

from dashboard.server import send_at_once


def test_connections_accepted_later_send_at_once() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        send_at_once()
        with socket.create_connection(listener.getsockname()):
            connection, _ = listener.accept()
            with connection:
                assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
