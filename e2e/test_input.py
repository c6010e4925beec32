# SPDX-License-Identifier: Apache-2.0
"""Bad input through the real command: exit code 2, the exact message, and nothing attached."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bpfast.settings import PIN_DIRECTORY_VARIABLE
from e2e.bpfast import COMMAND
from e2e.policies import get
from e2e.scene import Scene

WEB: dict[str, Any] = {"name": "web", "labels": {"app": "server"}}


class Inputs:
    """Two files to break, and ``bpfast run`` on them in the host's namespace."""

    def __init__(self, scene: Scene, directory: Path) -> None:
        """Write a policy and an endpoints file that are right."""
        self.scene = scene
        self.policy = directory / "policy.yaml"
        self.endpoints = directory / "endpoints.yaml"
        self.policy.write_text(get("/a"))
        self.write(WEB | {"netns": self.netns})

    @property
    def netns(self) -> str:
        """The name of the server's network namespace."""
        return self.scene.server.namespace.name

    @property
    def netns_path(self) -> str:
        """The path by which messages name it."""
        return f"/run/netns/{self.netns}"

    def write(self, *entries: dict[str, Any]) -> None:
        """Write the endpoints file."""
        self.endpoints.write_text(json.dumps({"endpoints": list(entries)}))

    def run(self, *words: str, policies: tuple[Path, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run it until it gives up."""
        named = [word for path in policies or (self.policy,) for word in ("--policy", str(path))]
        variable = f"{PIN_DIRECTORY_VARIABLE}={self.scene.pins}"
        line = ["env", variable, str(COMMAND), "run", "--endpoints", str(self.endpoints), *named, *words]
        return self.scene.topology.host.run(*line, check=False, timeout=20)

    def assert_refused(
        self, *messages: str, words: tuple[str, ...] = (), policies: tuple[Path, ...] = ()
    ) -> None:
        """It exits with 2 and says these lines, in this order; what was logged before does not count."""
        done = self.run(*words, policies=policies)
        said = [line for line in done.stderr.splitlines() if not line.startswith("{")]

        assert list(messages) == said
        assert (2, "") == (done.returncode, done.stdout)
        assert "xdp" not in self.scene.server.namespace.run("ip", "link", "show", "eth0").stdout
        assert list(self.scene.pins.iterdir()) == []


@pytest.fixture
def inputs(scene: Scene, tmp_path: Path) -> Inputs:
    """Files that are right until a test breaks them."""
    return Inputs(scene, tmp_path)


def test_a_missing_namespace_is_named(inputs: Inputs) -> None:
    """Every endpoint whose namespace is not there is told at once."""
    inputs.write(WEB | {"netns": "no-such"}, WEB | {"name": "b", "netns": "/no/such"})
    prefix = f"{inputs.endpoints}: endpoints"
    reason = "cannot be opened: No such file or directory"

    inputs.assert_refused(
        f"{prefix}[0].netns: network namespace '/run/netns/no-such' {reason}",
        f"{prefix}[1].netns: network namespace '/no/such' {reason}",
    )


def test_a_missing_interface_is_named(inputs: Inputs) -> None:
    """The message has the interfaces that are there."""
    inputs.write(WEB | {"netns": inputs.netns, "interface": "eth7"})

    inputs.assert_refused(
        f"{inputs.endpoints}: endpoints[0].interface: no interface 'eth7' in network namespace "
        f"{inputs.netns_path!r}; there are eth0, lo"
    )


def test_an_address_that_is_given_twice_is_refused(inputs: Inputs) -> None:
    """One that was read from a namespace counts like one in the file."""
    address = inputs.scene.server.address
    inputs.write(WEB | {"netns": inputs.netns}, {"name": "copy", "addresses": [address]})

    inputs.assert_refused(
        f"{inputs.endpoints}: default/copy: endpoints[1].addresses[0]: "
        f"address '{address}' is given to both 'default/web' and 'default/copy'"
    )


def test_missing_files_are_all_named(inputs: Inputs) -> None:
    """Two policy files that are not there are two lines."""
    gone = tuple(inputs.policy.with_name(name) for name in ("a.yaml", "b.yaml"))

    inputs.assert_refused(
        *(f"{path}: cannot be read: No such file or directory" for path in gone), policies=gone
    )


def test_a_missing_endpoints_file_is_named(inputs: Inputs) -> None:
    """So is the endpoints file."""
    inputs.endpoints.unlink()

    inputs.assert_refused(f"{inputs.endpoints}: cannot be read: No such file or directory")


def test_what_is_no_yaml_has_its_line(inputs: Inputs) -> None:
    """The message ends with line and column."""
    inputs.policy.write_text("kind: [\n")

    inputs.assert_refused(
        f"{inputs.policy}:2: not YAML: did not find expected node content (line 2, column 1)"
    )


def test_unknown_fields_have_their_path(inputs: Inputs) -> None:
    """Each fault of a file is a line with its YAML path and what is valid there."""
    inputs.policy.write_text(get("/a").replace('"ingress"', '"ingres"'))

    inputs.assert_refused(
        f"{inputs.policy}:14: default/p: spec.ingres: unknown field; did you mean 'ingress'?"
    )


def test_a_regex_that_is_none_is_refused(inputs: Inputs) -> None:
    """A path with an unclosed group has its YAML path and the position in the pattern."""
    inputs.policy.write_text(get("/(a"))

    inputs.assert_refused(
        f"{inputs.policy}:35: default/p: spec.ingress[0].toPorts[0].rules.http[0].path: "
        "'/(a' is not a regex in RE2 syntax: pattern '/(a', position 1: '(' without its ')'"
    )


def test_an_interface_that_is_no_veth_is_refused(inputs: Inputs) -> None:
    """The loopback interface cannot be policed."""
    inputs.write(WEB | {"netns": inputs.netns, "interface": "lo", "addresses": ["10.0.0.1"]})
    done = inputs.run()

    assert done.returncode == 2
    assert f"interface 'lo' in {inputs.netns_path!r} is of kind" in done.stderr
    assert "valid: a veth whose other end is in the namespace that bpfast runs in" in done.stderr


def test_a_foreign_program_is_named(inputs: Inputs) -> None:
    """An XDP program that somebody else holds by a link stays where it is, and run says so."""
    with inputs.scene.run(get("/a")) as first:
        done = inputs.scene.topology.host.run(
            "env", f"{PIN_DIRECTORY_VARIABLE}={inputs.scene.pins}-other", *first.arguments, check=False
        )
        left = Path(f"{inputs.scene.pins}-other")
        pinned = [path.name for path in left.rglob("*")] if left.exists() else []
        if left.exists():
            left.rmdir()

    assert done.returncode == 1
    assert "has the XDP program 'bpfast_entry'" in done.stderr
    assert "which a link holds" in done.stderr
    assert pinned == []
