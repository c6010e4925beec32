# SPDX-License-Identifier: Apache-2.0
"""Requests and answers over one TCP connection, as quickly as Python can."""

import contextlib
import re
import socket
import time

LOST = 0
"""The connection was reset or closed instead of an answer."""

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: (\d+)")


class Exchange:
    """Asks over a connection and reads answers that have a Content-Length."""

    def __init__(self, connection: socket.socket) -> None:
        """Take the connection."""
        self._socket = connection
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._left = b""

    def ask(self, path: str, *, pause: float = 0.0) -> int:
        """Ask, in two parts with a pause in between if there is one; return the status or LOST."""
        self.send(path, pause=pause)
        return self.answer()

    def send(self, path: str, *, times: int = 1, pause: float = 0.0) -> None:
        """Send requests in one segment, or a request in two; a connection that is lost shows in answer()."""
        request = f"GET {path} HTTP/1.1\r\nHost: pod\r\n\r\n".encode() * times
        cut = 10 if pause else 0
        try:
            if pause:
                self._socket.sendall(request[:cut])
                time.sleep(pause)
            self._socket.sendall(request[cut:])
        except ConnectionError:
            return

    def send_bytes(self, data: bytes) -> None:
        """Send what need not be a request; a connection that is lost shows in answer()."""
        with contextlib.suppress(ConnectionError):
            self._socket.sendall(data)

    def answer(self) -> int:
        """Return the status of the next answer, or LOST."""
        try:
            while b"\r\n\r\n" not in self._left:
                if not self._more():
                    return LOST
            head, _, rest = self._left.partition(b"\r\n\r\n")
            length = _LENGTH.search(head)
            size = int(length[1]) if length else 0
            while len(rest) < size:
                self._left = rest
                if not self._more():
                    return LOST
                rest = self._left
        except ConnectionError:
            return LOST
        self._left = rest[size:]
        return int(head.split(b" ", 2)[1])

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _more(self) -> bool:
        data = self._socket.recv(65536)
        self._left += data
        return bool(data)
