# SPDX-License-Identifier: Apache-2.0
"""Bytecode with placeholders -> loaded programs.

The text names maps by number and the endpoint by an immediate
(``bpf/lib/abi.h``). Both are load-immediate instructions (opcode 0x18, two
slots); here the numbers become descriptors and the immediate becomes the
endpoint, so one compilation serves every endpoint and every start.
"""

import os
import struct
from collections.abc import Mapping

from bpfast import abi
from bpfast.abi import MapNumber, Slot
from bpfast.errors import Bug
from bpfast.kernel import syscall
from bpfast.kernel.maps import Maps

_LOAD_IMMEDIATE = 0x18
_PSEUDO_MAP_FD = 1
_INSTRUCTION = struct.Struct("=BBhi")

STAGES: Mapping[Slot, str] = {
    Slot.FLOW: "bpfast_flow",
    Slot.PROVE: "bpfast_prove",
    Slot.HEADER: "bpfast_header",
    Slot.HTTP: "bpfast_http",
    Slot.VERDICT: "bpfast_verdict",
    Slot.CHUNK: "bpfast_chunk",
    Slot.RECALL: "bpfast_recall",
}
"""Slot -> program, in the order of ``enum slot``; SLOT_NEXT is somebody else's."""


def relocate(code: bytes, maps: Maps, endpoint: int) -> bytes:
    """Return ``code`` with map numbers and the endpoint's immediate filled in."""
    out = bytearray(code)
    at = 0
    while at < len(out):
        opcode, registers, _offset, immediate = _INSTRUCTION.unpack_from(out, at)
        if opcode == _LOAD_IMMEDIATE:
            source = registers >> 4
            if source == _PSEUDO_MAP_FD:
                struct.pack_into("=i", out, at + 4, maps[MapNumber(immediate)])
            elif source == 0 and immediate == abi.ENDPOINT_IMMEDIATE:
                struct.pack_into("=i", out, at + 4, endpoint)
            at += 8
        at += 8
    if len(out) != len(code):
        msg = "relocation changed the length of a program"
        raise Bug(msg)
    return bytes(out)


class Programs:
    """The shared stages of the chain, loaded once, and the endpoints' own programs."""

    def __init__(self, code: Mapping[str, bytes], maps: Maps) -> None:
        """Keep the bytecode and the maps; nothing is loaded yet."""
        self._code = dict(code)
        self._maps = maps

    def load(self, name: str, endpoint: int = 0) -> int:
        """Load one program and return its descriptor."""
        tcx = name in ("bpfast_guard", "bpfast_watch")
        prog_type = syscall.PROG_TYPE_SCHED_CLS if tcx else syscall.PROG_TYPE_XDP
        attach_type = syscall.ATTACH_TCX_INGRESS if tcx else syscall.ATTACH_XDP
        code = relocate(self._code[name], self._maps, endpoint)
        return syscall.prog_load(prog_type, code, name[:15], attach_type=attach_type)

    def fill_chain(self) -> None:
        """Load every stage and put it into its slot; packets take the new ones at once."""
        for slot, name in STAGES.items():
            fd = self.load(name)
            try:
                syscall.map_update(
                    self._maps[MapNumber.CHAIN], struct.pack("=I", slot), struct.pack("=I", fd)
                )
            finally:
                os.close(fd)

    def verifier_costs(self) -> dict[str, int]:
        """Return the instructions that the verifier processed for each program."""
        costs = {}
        for name in self._code:
            tcx = name in ("bpfast_guard", "bpfast_watch")
            prog_type = syscall.PROG_TYPE_SCHED_CLS if tcx else syscall.PROG_TYPE_XDP
            attach_type = syscall.ATTACH_TCX_INGRESS if tcx else syscall.ATTACH_XDP
            code = relocate(self._code[name], self._maps, 0)
            log = syscall.verifier_log(prog_type, code, name[:15], attach_type=attach_type)
            processed = log.split("processed ")[-1].split(" ")[0]
            costs[name] = int(processed)
        return costs
