# SPDX-License-Identifier: Apache-2.0
"""The pin directory: one user at a time, maps made or taken over, all taken away.

    PINS/LAYOUT/bpfast_*_DIGEST      maps; the chain's prog-array holds the stages
    PINS/LAYOUT/endpoint_N_HASH_DIRECTION/link_{chain,guard,watch}

What is pinned outlives the process, so SIGKILL changes nothing for traffic.
What another version has left is taken over (``controller.takeover``).
"""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from bpfast.controller import takeover
from bpfast.errors import Failure
from bpfast.kernel.attach import detach, pin_directories
from bpfast.kernel.maps import Maps, layout

_LOCKS = Path("/run")


@contextlib.contextmanager
def held(pins: Path) -> Iterator[None]:
    """Keep others away from a pin directory for the time of the block."""
    name = hashlib.sha256(str(pins).encode()).hexdigest()[:16]
    fd = os.open(_LOCKS / f"bpfast-{name}.lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            msg = f"another bpfast uses the pins in {str(pins)!r}; stop it, or set BPFAST_PIN_DIRECTORY"
            raise Failure(msg) from error
        yield
    finally:
        os.close(fd)


def open_maps(pins: Path) -> tuple[Maps, Path, bool]:
    """Return the maps, the directory of this version, and whether endpoints may have pins already."""
    if not os.path.ismount("/sys/fs/bpf") and pins.is_relative_to("/sys/fs/bpf"):
        msg = "no BPF file system at /sys/fs/bpf: mount it with `mount -t bpf bpf /sys/fs/bpf`"
        raise Failure(msg)
    pins.mkdir(parents=True, exist_ok=True)
    root = pins / layout()
    there = Maps.are_pinned(root)
    if not there and root.exists():
        remove(root)  # a start that did not get far
    takeover.clean_others(root)
    others = takeover.others(pins, root)
    if there:
        return Maps.from_pins(root), root, True
    maps = takeover.made_from(others)
    root.mkdir()
    maps.pin(root)
    return maps, root, bool(others)


def remove(root: Path) -> None:
    """Detach every endpoint below ``root`` and take all pins away."""
    for directory in pin_directories(root):
        detach(directory)
    for pin in root.iterdir():
        pin.unlink()
    root.rmdir()
