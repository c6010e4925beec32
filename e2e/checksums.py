# SPDX-License-Identifier: Apache-2.0
"""Servers that answer ``POST /sum`` with the checksum of what arrived: apache2, http.server and Node.

nginx cannot without a module, but what is uploaded to it can be read again.
"""

from pathlib import Path
from typing import ClassVar

from e2e.servers import Apache, Logged, Nginx, PythonServer, Server, status_and_request

_PROGRAMS = Path(__file__).resolve().parent / "serving"
_SCRIPT = """\
#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
exec sha256sum | head -c 64
"""
_MORE_APACHE = """\
LoadModule cgid_module {modules}/mod_cgid.so
ScriptSock {directory}/cgi.sock
ScriptAlias /sum {directory}/sum
"""


class SummingApache(Apache):
    """Debian's apache2 with a CGI script."""

    def prepare(self) -> list[str]:
        """Write the script, and what apache2 has to know about it."""
        command = super().prepare()
        script = self.directory / "sum"
        script.write_text(_SCRIPT)
        script.chmod(0o755)
        with (self.directory / "apache2.conf").open("a") as file:
            file.write(_MORE_APACHE.format(directory=self.directory, modules="/usr/lib/apache2/modules"))
        return command


class SummingPython(PythonServer):
    """Python's http.server with a method more."""

    def prepare(self) -> list[str]:
        """Return the command line; its log goes where it prints."""
        self.log = self.directory / "output.log"
        program = str(_PROGRAMS / "with_python.py")
        return ["/usr/bin/python3", "-u", program, str(self.port), str(self.directory)]


class SummingNode(Server):
    """A server in Node."""

    name: ClassVar[str] = "node"

    def prepare(self) -> list[str]:
        """Return the command line."""
        program = str(_PROGRAMS / "with_node.mjs")
        return ["node", program, str(self.port), str(self.directory), str(self.log)]

    def logged(self, line: str) -> Logged | None:
        """Read ``200 "GET / HTTP/1.1"``."""
        return status_and_request(line)


KINDS: tuple[tuple[type[Server], int], ...] = (
    (Nginx, 80),
    (SummingApache, 8080),
    (SummingPython, 8000),
    (SummingNode, 3000),
)
"""All four makes of servers, each with a port of its own, so that one pod has room for all."""
