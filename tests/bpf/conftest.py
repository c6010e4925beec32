# SPDX-License-Identifier: Apache-2.0
"""One build of the host's library for all tests of this folder."""

from pathlib import Path

import pytest

from tests.bpf.host import Host, build


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Host:
    """The pure headers as functions."""
    return Host(build(repository / "bpf", tmp_path_factory.mktemp("host")))
