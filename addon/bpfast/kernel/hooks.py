# SPDX-License-Identifier: Apache-2.0
"""What this kernel offers to hang a program on.

    tcx (Linux 6.6 and newer)   GUARD and WATCH, by pinned links
    before that                 GUARD: a clsact filter (``kernel.clsact``)
                                WATCH: generic XDP on the host side, by a pinned link

Asked of the kernel, not deduced from its version: CONFIG_NET_XGRESS may be off.
"""

import struct
from functools import cache

from bpfast import settings
from bpfast.errors import KernelFailure
from bpfast.kernel import syscall

_CMD_PROG_QUERY = 16
_LOOPBACK = 1


def tcx_offered() -> bool:
    """Tell whether programs can be attached by tcx; the question itself changes nothing."""
    return not settings.without_tcx() and _kernel_has_tcx()


@cache
def _kernel_has_tcx() -> bool:
    try:
        syscall.bpf(_CMD_PROG_QUERY, struct.pack("=IIII", _LOOPBACK, syscall.ATTACH_TCX_INGRESS, 0, 0))
    except KernelFailure:
        return False
    return True


def watcher() -> str:
    """Return the watcher's program: tcx where there is tcx, else generic XDP."""
    return "tcx/bpfast_watch" if tcx_offered() else "xdp/bpfast_watch"


def described() -> str:
    """Say how guard and watcher are attached here, as ``bpfast doctor`` shows it."""
    if tcx_offered():
        return "guard and watcher: tcx; --hook xdp, tcx, xdp-native"
    return "guard: clsact filter, watcher: generic XDP; --hook xdp (no tcx: that needs Linux 6.6)"
