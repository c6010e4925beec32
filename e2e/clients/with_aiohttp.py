# SPDX-License-Identifier: Apache-2.0
"""The client in Python's aiohttp."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp

from e2e.clients.body import Line, arguments, chunks, lines, report

SECONDS = 30


async def pieces(size: int) -> AsyncIterator[bytes]:
    """Give a body in pieces, which aiohttp sends in chunks."""
    for piece in chunks(size):
        yield piece


async def carry_out(session: aiohttp.ClientSession, base: str, line: Line) -> None:
    """Send one request and say what came."""
    data = pieces(line.size) if line.framing == "chunked" else line.data
    try:
        async with session.request(
            line.method, base + line.path, data=data, headers=line.headers, expect100=line.asked
        ) as answer:
            report(answer.status, await answer.read())
    except (aiohttp.ClientError, TimeoutError) as error:
        report(0, b"", repr(error))


async def main() -> None:
    """Carry out all orders, one connection at a time."""
    base, keep = arguments()
    connector = aiohttp.TCPConnector(limit=1, force_close=not keep)
    limit = aiohttp.ClientTimeout(total=SECONDS)
    async with aiohttp.ClientSession(connector=connector, timeout=limit) as session:
        for line in lines():
            await carry_out(session, base, line)


if __name__ == "__main__":
    asyncio.run(main())
