# SPDX-License-Identifier: Apache-2.0
"""A server that does as its first argument names: slow, in pieces, interim.

Each connection gets one answer for each request head; bodies are read before.
    slow      sleeps SECONDS before its answer
    pieces    sends its answer a byte at a time
    interim   100 Continue first, then sleeps SECONDS
"""

import socket
import sys
import threading
import time

SECONDS = 0.3
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def slow(connection: socket.socket) -> None:
    """Answer late."""
    time.sleep(SECONDS)
    connection.sendall(ANSWER)


def pieces(connection: socket.socket) -> None:
    """Answer byte by byte."""
    for byte in ANSWER:
        connection.sendall(bytes((byte,)))


def interim(connection: socket.socket) -> None:
    """Answer twice."""
    connection.sendall(CONTINUE)
    slow(connection)


WAYS = {"slow": slow, "pieces": pieces, "interim": interim}


def serve(connection: socket.socket, way: str) -> None:
    """Answer each head of a connection that has no body."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection, connection.makefile("rb") as lines:
        while line := lines.readline():
            if line == b"\r\n":
                WAYS[way](connection)


def main() -> None:
    """Serve a port."""
    port, way = sys.argv[1:]
    with socket.create_server(("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        while True:
            connection, _peer = listener.accept()
            threading.Thread(target=serve, args=(connection, way), daemon=True).start()


if __name__ == "__main__":
    main()
