# SPDX-License-Identifier: Apache-2.0
"""Where things are on this machine: the one place that decides about paths.

Each may be set by an environment variable, which is read when asked for and
not at import, so that a test or a unit file can point elsewhere.
"""

import os
from pathlib import Path

from bpfast.errors import Failure

BPF_DIRECTORY_VARIABLE = "BPFAST_BPF_DIRECTORY"
PIN_DIRECTORY_VARIABLE = "BPFAST_PIN_DIRECTORY"
CACHE_DIRECTORY_VARIABLE = "BPFAST_CACHE_DIRECTORY"
WITHOUT_TCX_VARIABLE = "BPFAST_WITHOUT_TCX"

# addon/bpfast/settings.py -> the checkout, where bpf/ stands beside addon/.
_CHECKOUT = Path(__file__).resolve().parents[2]


def bpf_directory() -> Path:
    """Return the directory that holds the C text of the kernel programs.

    That is ``bpf/`` of the checkout that this package was installed from
    (``pip install --editable``); BPFAST_BPF_DIRECTORY names another one.
    """
    named = os.environ.get(BPF_DIRECTORY_VARIABLE)
    directory = Path(named) if named else _CHECKOUT / "bpf"
    if not (directory / "lib" / "abi.h").is_file():
        raise Failure(
            f"no kernel sources in {str(directory)!r} (lib/abi.h is missing): "
            f"install with `make setup` in a checkout or set {BPF_DIRECTORY_VARIABLE}"
        )
    return directory


def pin_directory() -> Path:
    """Return the directory on the BPF file system under which everything is pinned."""
    return Path(os.environ.get(PIN_DIRECTORY_VARIABLE, "/sys/fs/bpf/bpfast"))


def cache_directory() -> Path:
    """Return the directory that keeps compiled programs, named by the content of their text."""
    return Path(os.environ.get(CACHE_DIRECTORY_VARIABLE, "/var/cache/bpfast"))


def without_tcx() -> bool:
    """Return whether to do as on a kernel that has no tcx (BPFAST_WITHOUT_TCX=1; for tests)."""
    return os.environ.get(WITHOUT_TCX_VARIABLE) == "1"
