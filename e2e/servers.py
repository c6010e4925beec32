# SPDX-License-Identifier: Apache-2.0
"""Real web servers inside a pod: nginx, apache2 and Python's http.server.

Each runs from a directory of its own, never from the machine's configuration,
and writes one line a request, from which ``requests()`` tells what really got
through. nginx and apache2 answer every path with 200; under ``/files/`` they
serve the files of ``root`` and nginx takes uploads (PUT) there. More of them
that answer with checksums are in ``e2e.checksums``.
"""

import contextlib
import os
import re
import socket
import struct
import subprocess
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from e2e.namespace import within
from e2e.topology import Pod, scratch_directory

LOG_SECONDS = 2.0
START_SECONDS = 10
STOP_SECONDS = 10
BLOCK = 1 << 20

_NGINX = """\
daemon off;
user root;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 4096; }}
http {{
    log_format line '$status "$request"';
    access_log {log} line;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    client_header_buffer_size 4k;
    large_client_header_buffers 8 64k;
    client_max_body_size 0;
    keepalive_requests 10000000;
    keepalive_timeout 600;
    merge_slashes off;
    server {{
        listen {port} backlog=4096 reuseport;
        listen [::]:{port} backlog=4096 reuseport;
        location / {{ return 200 "nginx: $request_method $request_uri\\n"; }}
        location /files/ {{ root {directory}; dav_methods PUT DELETE; }}
        location /early {{ client_max_body_size 1000; return 200 "early\\n"; }}
        location /early/any/ {{ return 200 "early\\n"; }}
        location /early/file/ {{ error_page 405 =200 $uri; alias {directory}/files/; }}
    }}
}}
"""

_APACHE = """\
ServerRoot {directory}
ServerName pod
PidFile {directory}/apache2.pid
DefaultRuntimeDir {directory}
Listen {port}
ErrorLog {directory}/error.log
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule alias_module {modules}/mod_alias.so
LoadModule dir_module {modules}/mod_dir.so
LogFormat "%>s \\"%r\\"" line
CustomLog {log} line
LimitRequestLine 65536
LimitRequestFieldSize 65536
KeepAlive On
MaxKeepAliveRequests 0
DocumentRoot {directory}/document
Alias /files {root}
User www-data
Group www-data
<Directory {directory}/document>
    FallbackResource /index.html
</Directory>
"""


@dataclass(frozen=True, slots=True)
class Logged:
    """One line of a server's access log: its answer, and the request line as it came."""

    status: int
    request: str


class Server(ABC):
    """A server in a pod for the time of a ``with`` block.

    Its directory stands in /tmp itself, since apache2 gives up being root and
    must be able to reach it; it is gone after the block, log and all.
    """

    name: ClassVar[str]

    def __init__(self, pod: Pod, *, port: int = 80) -> None:
        """Take the place; nothing runs before the block begins."""
        self.pod = pod
        self.port = port
        self._directory = scratch_directory()
        self.directory = Path(self._directory.name)
        self.root = self.directory / "files"
        self.log = self.directory / "access.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Start it and wait until it takes connections."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._directory)
            if self._connects():
                raise RuntimeError(
                    f"{self.name} cannot start in pod {self.pod.name!r}: port {self.port} is taken"
                )
            stack.callback(self.stop)
            self.root.mkdir()
            arguments = self.prepare()
            with (self.directory / "output.log").open("wb") as output:
                self._process = self.pod.namespace.start(*arguments, stdout=output, stderr=output)
            if not within(START_SECONDS, self._answers):
                raise RuntimeError(f"{self.name} did not start: {self.complaints()!r}")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it and delete its directory."""
        self._stack.close()

    @abstractmethod
    def prepare(self) -> list[str]:
        """Write the configuration and return the command line."""

    @abstractmethod
    def logged(self, line: str) -> Logged | None:
        """Return what a line of the access log says; None when it is about something else."""

    @property
    def url(self) -> str:
        """The address for clients, without a slash at its end."""
        return self.pod.url(self.port)

    @property
    def pid(self) -> int:
        """The id of the server's process."""
        if self._process is None:
            raise RuntimeError(f"{self.name} is not running")
        return self._process.pid

    def requests(self) -> list[Logged]:
        """Return what the server says it has answered, in order."""
        lines = self.log.read_text(errors="surrogateescape").splitlines() if self.log.exists() else []
        return [entry for entry in map(self.logged, lines) if entry is not None]

    def requests_since(self, before: int, *, expected: int = 0) -> list[Logged]:
        """Return what is logged after the first ``before``.

        A server writes its log behind its answer, so as many as are expected are
        waited for; more show, too.
        """
        within(LOG_SECONDS, lambda: len(self.requests()) >= before + expected)
        return self.requests()[before:]

    def complaints(self) -> str:
        """Return what the server printed and its error log."""
        paths = [self.directory / "output.log", self.directory / "error.log"]
        return "\n".join(path.read_text(errors="replace") for path in paths if path.exists())

    def stop(self) -> None:
        """End the server by its process id; twice is as good as once."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def add_file(self, name: str, *, size: int, random: bool = True) -> Path:
        """Make a file of ``size`` bytes to serve: random bytes, or zeros that take no space."""
        path = self.root / name
        with path.open("wb") as file:
            if random:
                for start in range(0, size, BLOCK):
                    file.write(os.urandom(min(BLOCK, size - start)))
            else:
                file.truncate(size)
        return path

    def _answers(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError(f"{self.name} ended at once: {self.complaints()!r}")
        return self._connects()

    def _connects(self) -> bool:
        # A connection without a request leaves no line in any of the logs; closed by
        # a reset it leaves none in the connection table either.
        with contextlib.suppress(OSError, OverflowError):
            with self.pod.namespace.connect(self.pod.address, self.port, timeout=1) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return True
        return False


class Nginx(Server):
    """Debian's nginx-light."""

    name = "nginx"

    def prepare(self) -> list[str]:
        """Write nginx.conf."""
        configuration = self.directory / "nginx.conf"
        text = _NGINX.format(directory=self.directory, log=self.log, port=self.port)
        configuration.write_text(text)
        return ["/usr/sbin/nginx", "-p", str(self.directory), "-c", str(configuration)]

    def logged(self, line: str) -> Logged | None:
        """Read ``200 "GET / HTTP/1.1"``."""
        return status_and_request(line)


class Apache(Server):
    """Debian's apache2."""

    name = "apache2"

    def prepare(self) -> list[str]:
        """Write apache2.conf and the page that stands for every path."""
        document = self.directory / "document"
        document.mkdir()
        (document / "index.html").write_text("apache2\n")
        # The workers run as another user than we do.
        for path in (self.directory, document, self.root):
            path.chmod(0o755)
        configuration = self.directory / "apache2.conf"
        modules = "/usr/lib/apache2/modules"
        text = _APACHE.format(
            directory=self.directory, log=self.log, root=self.root, port=self.port, modules=modules
        )
        configuration.write_text(text)
        return ["/usr/sbin/apache2", "-d", str(self.directory), "-f", str(configuration), "-D", "FOREGROUND"]

    def logged(self, line: str) -> Logged | None:
        """Read ``200 "GET / HTTP/1.1"``."""
        return status_and_request(line)


class PythonServer(Server):
    """Python's http.server: it has the files below ``/files/``; every other path is 404."""

    name = "http.server"

    def prepare(self) -> list[str]:
        """Return the command line; its log goes where it prints."""
        self.log = self.directory / "output.log"
        arguments = ["--protocol", "HTTP/1.1", "--bind", "::"]
        arguments += ["--directory", str(self.directory), str(self.port)]
        return ["/usr/bin/python3", "-u", "-m", "http.server", *arguments]

    def logged(self, line: str) -> Logged | None:
        """Read ``10.88.0.11 - - [date] "GET / HTTP/1.1" 200 -``."""
        match = re.fullmatch(r'\S+ - - \[[^]]*\] "(.*)" (\d+) \S+', line)
        return Logged(int(match[2]), match[1]) if match else None


def status_and_request(line: str) -> Logged | None:
    """Read a line with the status and the request in quotes."""
    match = re.fullmatch(r'(\d+) "(.*)"', line)
    return Logged(int(match[1]), match[2]) if match else None
