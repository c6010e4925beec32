# SPDX-License-Identifier: Apache-2.0
"""Over which hooks the tests of this folder run."""

import platform

from bpfast.doctor import _version
from tests.kernel.packets import HOOKS

FIRST_WITH_TCX = (6, 6)


def test_no_hook_is_left_out_that_the_kernel_has() -> None:
    """Before Linux 6.6 there is XDP alone; from then on every test runs over tcx too."""
    has_tcx = _version(platform.release()) >= FIRST_WITH_TCX

    assert ("xdp", "tcx")[: 1 + has_tcx] == HOOKS
