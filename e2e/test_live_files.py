# SPDX-License-Identifier: Apache-2.0
"""However a file is changed, the change is taken: editors, half-written files, mounted ConfigMaps."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e.bpfast import BPFast
from e2e.curl import curl
from e2e.namespace import within
from e2e.policies import get
from e2e.scene import Scene
from e2e.servers import Nginx

SECONDS = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a mounted ConfigMap is: every file a link into ``..data``, itself a link."""
    path = tmp_path_factory.mktemp("mounted")
    publish(path, get("/a"))
    (path / "policy.yaml").symlink_to("..data/policy.yaml")
    return path


@pytest.fixture(scope="module")
def running(scene: Scene, web: Nginx, folder: Path) -> Iterator[BPFast]:
    """One run over that folder."""
    del web
    with scene.run(folder, options=["--events", "none"]) as started:
        yield started


def publish(folder: Path, text: str) -> None:
    """Change a mounted ConfigMap as the kubelet does: a new directory, and one rename of a link."""
    fresh = folder / f"..{len(list(folder.iterdir()))}"
    fresh.mkdir()
    (fresh / "policy.yaml").write_text(text)
    link = folder / "..data_tmp"
    link.symlink_to(fresh.name)
    link.replace(folder / "..data")


def in_place(folder: Path, text: str) -> None:
    """Write into the file, as a shell does."""
    (folder / "policy.yaml").write_text(text)


def by_rename(folder: Path, text: str) -> None:
    """Put another file into its place, as an editor does."""
    real = (folder / "policy.yaml").resolve()
    fresh = real.with_name(".policy.yaml.swp")
    fresh.write_text(text)
    fresh.replace(real)


def with_its_time(folder: Path, text: str) -> None:
    """Put a file of the same size and time into its place, as ``cp --preserve`` and a rename do."""
    real = (folder / "policy.yaml").resolve()
    seen = real.stat()
    by_rename(folder, text)
    os.utime(real, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def allowed(scene: Scene, web: Nginx) -> list[str]:
    """Return which of two paths may be asked for."""
    return [path for path in ("/a", "/b") if curl(scene.client, web.url + path, seconds=1).status == 200]


@pytest.mark.parametrize("change", (publish, in_place, by_rename, with_its_time))
def test_a_change_is_taken(
    scene: Scene, web: Nginx, running: BPFast, folder: Path, change: Callable[[Path, str], None]
) -> None:
    """The new policy is enforced, and so is the old one when it is back."""
    found = []
    for path in ("/b", "/a"):
        with running.taking_up():
            change(folder, get(path))
        found += allowed(scene, web)

    assert ["/b", "/a"] == found


def test_half_a_file_is_told_and_the_rest_is_taken(
    scene: Scene, web: Nginx, running: BPFast, folder: Path
) -> None:
    """Half a policy leaves the last one in force and is an error; when it is whole it counts."""
    path = (folder / "policy.yaml").resolve()
    text = get("/b")
    known = len(running.events("error"))
    with path.open("w") as file:
        file.write(text[: len(text) // 2])
        file.flush()
        told = within(SECONDS, lambda: len(running.events("error")) > known)
        during = allowed(scene, web)
        with running.taking_up():
            file.write(text[len(text) // 2 :])
            file.flush()
    after = allowed(scene, web)
    with running.taking_up():
        publish(folder, get("/a"))

    assert told
    assert "stays in force" in running.events("error")[known]["message"]
    assert (["/a"], ["/b"]) == (during, after)
