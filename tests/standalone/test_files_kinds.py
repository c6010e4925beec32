# SPDX-License-Identifier: Apache-2.0
"""Files that are none: a pipe is never waited for, a device never read."""

import os
from pathlib import Path

import pytest

from bpfast.errors import BadInput
from bpfast.standalone.files import read_texts


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    """A named pipe that nobody writes into does not keep the command waiting."""
    pipe = tmp_path / "policy.yaml"
    os.mkfifo(pipe)

    with pytest.raises(BadInput, match="not a regular file"):
        read_texts([pipe])


def test_a_device_is_refused() -> None:
    """A device without end is not read."""
    with pytest.raises(BadInput, match="not a regular file"):
        read_texts([Path("/dev/zero")])
