# SPDX-License-Identifier: Apache-2.0
"""Python's http.server, which also answers POST with the checksum of the body, chunked or not."""

import functools
import hashlib
import socket
import sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import _Hash

PIECE = 65536


class Handler(SimpleHTTPRequestHandler):
    """Files by GET and HEAD, checksums by POST."""

    protocol_version = "HTTP/1.1"
    # Head and body are two writes; the second would wait for the client's delayed acknowledgement.
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Answer with the checksum of the body."""
        checksum = hashlib.sha256()
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                self._take(checksum, size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            self._take(checksum, int(self.headers["Content-Length"]))
        said = checksum.hexdigest().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def _take(self, checksum: "_Hash", size: int) -> None:
        while size > 0:
            piece = self.rfile.read(min(size, PIECE))
            if not piece:
                raise ConnectionError(f"{size} bytes of the body are missing")
            checksum.update(piece)
            size -= len(piece)


class Server(ThreadingHTTPServer):
    """A server on every address of both families, with room for connections that wait."""

    address_family = socket.AF_INET6
    request_queue_size = 128


def main() -> None:
    """Serve a port and a directory."""
    port, directory = sys.argv[1:]
    with Server(("::", int(port)), functools.partial(Handler, directory=directory)) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
