# SPDX-License-Identifier: Apache-2.0
"""``bpf_redirect_peer`` between two pods, as Cilium does it on the host."""

import contextlib
import os
import socket
import struct
from collections.abc import Callable, Iterator

from bpfast.kernel import clsact, hooks, syscall
from e2e.topology import GATEWAY, GATEWAY6, Pod

_STORE_BYTES = 9  # enum bpf_func_id: bpf_skb_store_bytes, bpf_redirect_peer
_REDIRECT_PEER = 155


def _instruction(code: int, registers: int = 0, *, offset: int = 0, number: int = 0) -> bytes:
    return struct.pack("=BBhi", code, registers, offset, number)


def _redirector(source: str, target: int) -> bytes:
    """Return a program that hands a frame from ``source`` to the peer of ``target``, as Cilium does."""
    low, high = struct.unpack("=iH", bytes.fromhex(source.replace(":", "")))
    return b"".join(
        (
            _instruction(0x62, 0x0A, offset=-8, number=low),  # *(u32 *)(r10 - 8) = low
            _instruction(0x62, 0x0A, offset=-4, number=high),
            _instruction(0xB7, 2, number=6),  # r2 = 6, the source address's place; r1 is the packet
            _instruction(0xBF, 0xA3),  # r3 = r10
            _instruction(0x07, 3, number=-8),
            _instruction(0xB7, 4, number=6),
            _instruction(0xB7, 5, number=0),
            _instruction(0x85, number=_STORE_BYTES),
            _instruction(0xB7, 1, number=target),
            _instruction(0xB7, 2, number=0),
            _instruction(0x85, number=_REDIRECT_PEER),
            _instruction(0x95),
        )
    )


def _attached(program: int, index: int) -> Callable[[], None]:
    """Attach a program to an interface of this namespace, as the kernel can; return what takes it off."""
    if hooks.tcx_offered():
        link = syscall.link_create(program, index, syscall.ATTACH_TCX_INGRESS)
        return lambda: os.close(link)
    device = clsact.Device("/proc/thread-self/ns/net", index)
    clsact.add_qdisc(device)
    clsact.put(program, "redirect_peer", device)
    return lambda: clsact.take_off(device, qdisc=True)


@contextlib.contextmanager
def redirect_peer(client: Pod, server: Pod) -> Iterator[str]:
    """Let the host hand all that a pod sends to another one's ``eth0`` itself; give that one's address."""
    mac = server.mac
    with client.host.entered():
        source = socket.if_nametoindex(client.host_interface)
        target = socket.if_nametoindex(server.host_interface)
    code = _redirector(server.host_mac, target)
    program = syscall.prog_load(syscall.PROG_TYPE_SCHED_CLS, code, "redirect_peer")
    with client.host.entered():
        end = _attached(program, source)
    for gateway in (GATEWAY, GATEWAY6):
        client.namespace.run("ip", "neigh", "replace", gateway, "dev", "eth0", "lladdr", mac)
    try:
        yield mac
    finally:
        with client.host.entered():
            end()
        os.close(program)
        for gateway in (GATEWAY, GATEWAY6):
            client.namespace.run("ip", "neigh", "delete", gateway, "dev", "eth0")
