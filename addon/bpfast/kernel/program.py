# SPDX-License-Identifier: Apache-2.0
"""Bytecode with placeholders -> loaded programs.

The text names maps by number and the endpoint by an immediate
(``bpf/lib/abi.h``). Both are load-immediate instructions (opcode 0x18, two
slots); here the numbers become descriptors and the immediate becomes the
endpoint, so one compilation serves every endpoint and every start.
"""

import errno
import os
import struct
from collections.abc import Mapping

from bpfast import abi
from bpfast.abi import MapNumber, Slot
from bpfast.errors import Bug, KernelFailure
from bpfast.kernel import syscall
from bpfast.kernel.maps import Maps

_LOAD_IMMEDIATE = 0x18
_PSEUDO_MAP_FD = 1
_INSTRUCTION = struct.Struct("=BBhi")
_U32 = struct.Struct("=I")

STAGES: Mapping[Slot, str] = {
    Slot.FLOW: "bpfast_flow",
    Slot.PROVE: "bpfast_prove",
    Slot.HEADER: "bpfast_header",
    Slot.HTTP: "bpfast_http",
    Slot.VERDICT: "bpfast_verdict",
    Slot.CHUNK: "bpfast_chunk",
    Slot.RECALL: "bpfast_recall",
}
"""Slot -> program, in the order of ``enum slot``; of either hook."""

CHAINS: Mapping[str, MapNumber] = {"xdp": MapNumber.CHAIN, "tcx": MapNumber.CHAIN_TCX}
"""Hook -> prog-array of its chain."""

_TYPES: Mapping[str, tuple[int, int]] = {
    "xdp": (syscall.PROG_TYPE_XDP, syscall.ATTACH_XDP),
    "tcx": (syscall.PROG_TYPE_SCHED_CLS, syscall.ATTACH_TCX_INGRESS),
}
"""Hook -> program type and attach type."""


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

    @property
    def maps(self) -> Maps:
        """The maps that the programs use."""
        return self._maps

    def load(self, name: str, endpoint: int = 0) -> int:
        """Load one program, named ``HOOK/NAME``, and return its descriptor."""
        hook, own_name = name.split("/")
        prog_type, attach_type = _TYPES[hook]
        code = relocate(self._code[name], self._maps, endpoint)
        return syscall.prog_load(prog_type, code, own_name[:15], attach_type=attach_type)

    def fill_chain(self, hook: str = "xdp") -> None:
        """Load every stage and put it into its slot; packets take the new ones at once."""
        for slot in STAGES:
            self.fill_slot(slot, hook)

    def fill_slot(self, slot: Slot, hook: str = "xdp") -> None:
        """Load one stage and put it into its slot."""
        fd = self.load(f"{hook}/{STAGES[slot]}")
        try:
            syscall.map_update(self._maps[CHAINS[hook]], _U32.pack(slot), _U32.pack(fd))
        finally:
            os.close(fd)

    def set_next(self, endpoint: int, prog_fd: int) -> None:
        """Let a foreign XDP program have what an endpoint's XDP chain passes.

        It must have been loaded as libbpf and ``ip`` do: for XDP on a device (attach
        type 37), without fragments. A prog-array takes no others.
        """
        try:
            syscall.map_update(self._maps[MapNumber.NEXT], _U32.pack(endpoint), _U32.pack(prog_fd))
        except KernelFailure as error:
            if syscall.error_number(error) != errno.EINVAL:
                raise
            msg = (
                f"the XDP program of endpoint {endpoint} cannot be called behind bpfast: valid is one that "
                "was loaded with attach type 37 (XDP on a device) and without support of fragments; "
                "load it as `ip link set dev INTERFACE xdpgeneric` does, or take it off"
            )
            raise KernelFailure(msg) from error.__cause__

    def clear_next(self, endpoint: int) -> bool:
        """Let nobody have what an endpoint's chain passes; False where nobody had it."""
        return syscall.map_delete(self._maps[MapNumber.NEXT], _U32.pack(endpoint))

    def verifier_costs(self) -> dict[str, int]:
        """Return the instructions that the verifier processed for each program."""
        costs = {}
        for name in self._code:
            hook, own_name = name.split("/")
            prog_type, attach_type = _TYPES[hook]
            code = relocate(self._code[name], self._maps, 0)
            log = syscall.verifier_log(prog_type, code, own_name[:15], attach_type=attach_type)
            processed = log.split("processed ")[-1].split(" ")[0]
            costs[name] = int(processed)
        return costs
