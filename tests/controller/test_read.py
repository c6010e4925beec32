# SPDX-License-Identifier: Apache-2.0
"""Whether the user's files have changed, and what they say."""

import json
import os
from pathlib import Path

import pytest

from bpfast import log
from bpfast.controller.read import (
    place_of,
    read_all_endpoints,
    read_all_policies,
    regex_fault,
    stamp,
    without_namespaces,
)
from bpfast.errors import BadInput
from bpfast.kernel.site import Place
from tests.controller.scenes import CLIENT, WEB


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two files."""
    for name in ("one.yaml", "two.yaml"):
        (tmp_path / name).write_text("x: 1\n")
    return tmp_path


def test_nothing_has_changed(folder: Path) -> None:
    """Looking twice sees the same."""
    assert stamp([folder, folder / "one.yaml"]) == stamp([folder, folder / "one.yaml"])


def test_a_file_of_a_folder_changes(folder: Path) -> None:
    """A write to a file changes the stamp of its folder."""
    before = stamp([folder])
    (folder / "one.yaml").write_text("x: 12\n")
    assert before != stamp([folder])


def test_a_file_of_the_same_size_changes(folder: Path) -> None:
    """A later time alone is a change."""
    before = stamp([folder / "one.yaml"])
    seen = (folder / "one.yaml").stat()
    os.utime(folder / "one.yaml", ns=(seen.st_atime_ns, seen.st_mtime_ns + 1))
    assert before != stamp([folder / "one.yaml"])


def test_a_file_of_the_same_time_changes(folder: Path) -> None:
    """Another size alone is a change: two writes may fall into one step of the clock."""
    before = stamp([folder])
    seen = [path.stat() for path in (folder, folder / "one.yaml")]
    (folder / "one.yaml").write_text("x: 12\n")
    for path, was in zip((folder, folder / "one.yaml"), seen, strict=True):
        os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert before != stamp([folder])


def test_a_file_is_put_in_the_place_of_another(folder: Path) -> None:
    """Another file under the same name is a change though its size and time are the same."""
    before = stamp([folder / "one.yaml"])
    seen = (folder / "one.yaml").stat()
    (folder / "new").write_text("y: 2\n")
    os.utime(folder / "new", ns=(seen.st_atime_ns, seen.st_mtime_ns))
    (folder / "new").replace(folder / "one.yaml")
    assert before != stamp([folder / "one.yaml"])


@pytest.mark.parametrize("watched", ("", "one.yaml"))
def test_a_file_vanishes_and_comes_back(folder: Path, watched: str) -> None:
    """A file that vanishes is a change, in a folder or by name, and no error; so is its return."""
    paths = [folder / watched]
    before = stamp(paths)
    (folder / "one.yaml").rename(folder.parent / "aside.yaml")
    gone = stamp(paths)
    assert before != gone
    assert gone == stamp(paths)
    (folder.parent / "aside.yaml").rename(folder / "one.yaml")
    assert gone != stamp(paths)


def test_a_file_comes_into_a_folder(folder: Path) -> None:
    """A new file is a change."""
    before = stamp([folder])
    (folder / "three.yaml").write_text("")
    assert before != stamp([folder])


@pytest.mark.parametrize("watched", ("", "policy.yaml"))
def test_a_mounted_config_map_is_switched(tmp_path: Path, watched: str) -> None:
    """Files behind a link that is pointed elsewhere, as Kubernetes does it, have changed."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "policy.yaml").write_text("x: 1\n")
        os.utime(tmp_path / name / "policy.yaml", ns=(0, 0))
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    (mounted / "..data").symlink_to("../first")
    (mounted / "policy.yaml").symlink_to("..data/policy.yaml")
    before = stamp([mounted / watched])
    (mounted / "..new").symlink_to("../second")
    (mounted / "..new").replace(mounted / "..data")
    assert before != stamp([mounted / watched])


def test_a_regex_is_refused_for_what_is_wrong_with_it() -> None:
    """A regex that the tables cannot take is a fault with a reason."""
    assert None is regex_fault("/a/[0-9]+")
    assert regex_fault("/a(")


ENDPOINTS = """
endpoints:
  - {name: web, netns: there-is-no-such-namespace}
  - {name: db, netns: nor-this-one, addresses: [10.0.0.9]}
  - {name: client, addresses: [10.0.0.1]}
"""


@pytest.mark.privileged
def test_every_namespace_that_cannot_be_opened_is_a_fault(tmp_path: Path) -> None:
    """All faults come at once, each with its place in the file."""
    path = tmp_path / "endpoints.yaml"
    path.write_text(ENDPOINTS)
    with pytest.raises(BadInput) as caught:
        read_all_endpoints(path)
    places = [(fault.source, fault.path) for fault in caught.value.faults]
    assert [(str(path), "endpoints[0].netns"), (str(path), "endpoints[1].netns")] == places
    assert caught.value.faults[0].message.startswith(
        "network namespace '/run/netns/there-is-no-such-namespace' cannot be opened: "
    )


def test_verdict_needs_no_namespaces(tmp_path: Path) -> None:
    """For a verdict endpoints are read without looking where they are."""
    path = tmp_path / "endpoints.yaml"
    path.write_text(ENDPOINTS)
    assert [None] * 3 == [endpoint.netns for endpoint in without_namespaces(path)]


def test_only_what_has_a_namespace_has_a_place() -> None:
    """Programs go to a namespace's interface; a peer has neither."""
    assert Place("/run/netns/web", "eth0") == place_of(WEB)
    assert None is place_of(CLIENT)


def test_every_missing_policy_file_is_a_fault(tmp_path: Path) -> None:
    """A policy file that is not there is an error: it would allow what it was to forbid."""
    paths = [tmp_path / "one.yaml", tmp_path / "two.yaml"]
    with pytest.raises(BadInput) as caught:
        read_all_policies(paths)
    assert [str(path) for path in paths] == [fault.source for fault in caught.value.faults]


def test_what_is_no_policy_is_named(
    tmp_path: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An object that is for somebody else is passed over, and the log says which."""
    example = (repository / "manifests" / "examples" / "egress-http.yaml").read_text()
    service = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n"
    (tmp_path / "mixed.yaml").write_text(f"{service}---\n{example}")
    log.set_up()
    assert ["demo/egress-http"] == [one.full_name for one in read_all_policies([tmp_path / "mixed.yaml"])]
    said = json.loads(capsys.readouterr().err)
    assert ["object_passed_over", "Service", "default/web", 1] == [
        said[key] for key in ("event", "kind", "name", "line")
    ]
