# SPDX-License-Identifier: Apache-2.0
"""Honest HTTP clients of several makes behind one interface.

Each is a program of a few lines around somebody's HTTP library. Its arguments
are the base URL and ``keep`` or ``close``; each line of its input is an order,
fields separated by tabs::

    METHOD  PATH  SIZE  none|length|chunked  now|asked  NAME: VALUE ...

SIZE bytes of body go out with a Content-Length or in chunks, at once or after
``100 Continue`` has come (``Expect: 100-continue``); byte number i is i % 251.
For each order in turn it prints a line of JSON: ``status`` (0: no answer),
``length`` and ``sha256`` of the body, and ``error``, empty when the library had
no complaint. With ``keep`` it uses a connection as long as the server keeps it.
"""
