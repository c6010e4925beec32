# SPDX-License-Identifier: Apache-2.0
"""The real programs on packets that never see a wire (BPF_PROG_TEST_RUN).

One policed endpoint with maps of its own; nothing is attached. ``verdict
--engine kernel``, the kernel tests and the benchmarks all run through here.
"""

import os
import struct
from types import TracebackType
from typing import Self

from bpfast import abi
from bpfast.abi import MapNumber, Slot
from bpfast.kernel import hooks, syscall
from bpfast.kernel.maps import Maps, possible_cpus
from bpfast.kernel.program import CHAINS, Programs
from bpfast.kernel.state import QUARANTINE, EventRing, State

XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX = range(4)
TC_SHOT = 2
TC_REDIRECT = 7
TCX_CONTINUE = -1
_AS_XDP = {TCX_CONTINUE: XDP_PASS, TC_SHOT: XDP_DROP, TC_REDIRECT: XDP_TX}
"""What a tcx action is in XDP's words; redirected is only what is sent back."""
_ROOM = 4096
MARK_BYTES = 8
"""What a frame that passes is longer by: the mark, in its metadata."""
_U32 = struct.Struct("=I")


class Trial:
    """Maps, the whole chain, and ENTRY, GUARD and WATCH of one endpoint."""

    def __init__(
        self,
        code: dict[str, bytes],
        *,
        hook: str = "xdp",
        endpoint: int = 1,
        quarantine: float = QUARANTINE,
    ) -> None:
        """Create maps and load every program of a hook; ``code`` comes from ``kernel.compiler``.

        ``quarantine`` 0: the place of a retired table is used again at once.
        """
        self.hook = hook
        self.endpoint = endpoint
        self.maps = Maps.create()
        self.programs = Programs(code, self.maps)
        self.programs.fill_chain(hook)
        self.state = State(self.maps, quarantine=quarantine)
        self.ring = EventRing(self.maps)
        self._taken_out: dict[Slot, int] = {}
        self._watcher = "tcx/bpfast_watch" if hook == "tcx" else hooks.watcher()
        names = {
            "entry": f"{hook}/bpfast_entry",
            "guard": "tcx/bpfast_guard",
            "watch": self._watcher,
            "sweep": "xdp/bpfast_sweep",
        }
        self._fds = {part: self.programs.load(name, endpoint) for part, name in names.items()}

    def __enter__(self) -> Self:
        """Return itself; leaving the block closes it."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Close everything."""
        self.close()

    def close(self) -> None:
        """Give all descriptors back; the kernel forgets programs and maps."""
        for fd in (*self._fds.values(), *self._taken_out.values()):
            os.close(fd)
        self.ring.close()
        self.state.close()
        self.maps.close()

    def receive(self, frame: bytes, context: bytearray | None = None) -> tuple[int, bytes]:
        """Let a frame arrive at the endpoint: return the action, as XDP's, and the frame as it goes on."""
        action, after, _duration = syscall.test_run(self._fds["entry"], frame, room=_ROOM, context=context)
        return (_AS_XDP[action] if self.hook == "tcx" else action), after

    def watch(self, frame: bytes) -> int:
        """Let the endpoint send a frame: return the watcher's tcx action (as if it were tcx)."""
        action, _after, _duration = syscall.test_run(self._fds["watch"], frame, room=_ROOM)
        if self._watcher == "xdp/bpfast_watch":
            return TCX_CONTINUE if action == XDP_PASS else action
        return action

    def guard(self, frame: bytes) -> int:
        """Show the guard a frame that has no mark: return its tcx action."""
        action, _after, _duration = syscall.test_run(self._fds["guard"], frame, room=_ROOM)
        return action

    def sweep(self, flow_key: bytes, *, force: bool = False) -> bool:
        """Run the sweeper on one flow; True when it was deleted."""
        request = flow_key + struct.pack("=II", int(force), 0)
        syscall.map_update(self.maps[MapNumber.SWEEP], _U32.pack(0), request)
        syscall.test_run(self._fds["sweep"], bytes(64), room=_ROOM)
        answer = syscall.map_lookup(self.maps[MapNumber.SWEEP], _U32.pack(0), len(request)) or request
        return bool(answer[-4:] != bytes(4))

    def empty(self, slot: Slot) -> None:
        """Take a stage out of the chain, to see that a missed tail call denies."""
        number = syscall.map_lookup(self.maps[CHAINS[self.hook]], _U32.pack(slot), _U32.size)
        if number is not None:
            self._taken_out[slot] = syscall.prog_fd_by_id(*_U32.unpack(number))
        syscall.map_delete(self.maps[CHAINS[self.hook]], _U32.pack(slot))

    def refill(self, slot: Slot) -> None:
        """Put the stage back."""
        fd = self._taken_out.pop(slot)
        syscall.map_update(self.maps[CHAINS[self.hook]], _U32.pack(slot), _U32.pack(fd))
        os.close(fd)

    def flow(self, flow_key: bytes) -> bytes | None:
        """Return ``struct flow`` of a connection, or None."""
        return syscall.map_lookup(self.maps[MapNumber.FLOWS], flow_key, abi.SIZES["flow"])

    def flows(self) -> list[bytes]:
        """Return the keys of all flows."""
        return list(syscall.map_keys(self.maps[MapNumber.FLOWS], abi.SIZES["flow_key"]))

    def forget_rates(self) -> None:
        """Begin the rates of events and resets anew: what is asked for must not be withheld."""
        size = abi.SIZES["rate"] * possible_cpus()
        syscall.map_update(self.maps[MapNumber.RATES], _U32.pack(0), bytes(size))

    def events(self) -> list[bytes]:
        """Return the raw events so far."""
        return self.ring.poll(0)
