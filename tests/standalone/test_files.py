# SPDX-License-Identifier: Apache-2.0
"""Opening policy and endpoints files."""

from pathlib import Path

import pytest

from bpfast.errors import BadInput
from bpfast.standalone.files import read_endpoints, read_texts


def test_a_folder_stands_for_its_files_in_order(tmp_path: Path) -> None:
    """YAML and JSON files directly inside are read, sorted; everything else is left alone."""
    for name in ("b.yaml", "a.yml", "c.json", ".hidden.yaml", "d.txt"):
        (tmp_path / name).write_text(name)
    (tmp_path / "e.yaml").mkdir()
    texts = read_texts([tmp_path])

    assert ["a.yml", "b.yaml", "c.json"] == [text.text for text in texts]
    assert [str(tmp_path / "a.yml"), True] == [texts[0].source, texts[0].found]


def test_a_file_is_read_whatever_its_name(tmp_path: Path) -> None:
    """A file that the user names is taken, without looking at its ending."""
    file = tmp_path / "policy"
    file.write_text("\ufeffkind: x\n", encoding="utf-8")
    (text,) = read_texts([file])

    assert "kind: x\n" == text.text
    assert not text.found


def test_everything_that_cannot_be_read_is_told_at_once(tmp_path: Path) -> None:
    """A file that is not there, an empty folder and bytes that are no text are three faults."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "latin1").write_bytes(b"caf\xe9")
    with pytest.raises(BadInput) as caught:
        read_texts([tmp_path / "gone", tmp_path / "empty", tmp_path / "latin1"])
    expected = [
        f"{tmp_path}/gone: cannot be read: No such file or directory",
        f"{tmp_path}/empty: the folder has no file that ends in .yaml, .yml, .json",
        f"{tmp_path}/latin1: is not UTF-8 text: byte 3 is 0xe9",
    ]

    assert expected == str(caught.value).splitlines()


def test_a_file_that_vanished_from_a_folder_is_a_fault(tmp_path: Path) -> None:
    """A link that leads nowhere, as while a mounted volume changes, is not passed over."""
    (tmp_path / "a.yaml").symlink_to("gone")
    with pytest.raises(BadInput, match="a.yaml: cannot be read: No such file or directory"):
        read_texts([tmp_path])


def test_endpoints_are_read_from_a_file(tmp_path: Path) -> None:
    """The endpoints file is opened and its path names the faults."""
    file = tmp_path / "e.yaml"
    file.write_text("endpoints: [{name: web, netns: web}]")
    assert ["default/web"] == [endpoint.full_name for endpoint in read_endpoints(file)]

    file.write_text("endpoints: []")
    with pytest.raises(BadInput, match="e.yaml: endpoints: must hold at least one entry"):
        read_endpoints(file)


def test_an_endpoints_file_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    """A wrong path to the endpoints file is the user's to mend."""
    with pytest.raises(BadInput, match="gone.yaml: cannot be read: No such file or directory"):
        read_endpoints(tmp_path / "gone.yaml")
