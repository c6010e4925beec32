# SPDX-License-Identifier: Apache-2.0
"""What ``bpfast check`` says about each layer-7 rule, to a program, to a pipe and to a person."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bpfast.cli import main
from bpfast.controller.check import check_files
from bpfast.errors import BadInput
from bpfast.policy.envoy import Where
from tests.conftest import ROOT
from tests.controller.scenes import GET_PUBLIC, policy

COMMAND = str(Path(sys.executable).with_name("bpfast"))
POLICY = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata:
  name: shop
  namespace: demo
spec:
  endpointSelector:
    matchLabels:
      app: shop
  ingress:
  - toPorts:
    - ports:
      - port: "80"
        protocol: TCP
      rules:
        http:
        - method: GET
          path: /public
        - headers: ["X-Foo:1"]
    - ports:
      - port: "443"
        protocol: TCP
      terminatingTLS:
        secret: {name: s, namespace: demo}
      rules:
        http:
        - path: /a
        - path: /b
    - ports:
      - port: "81"
        protocol: TCP
  - authentication: {mode: required}
    fromEntities: [world]
    toPorts:
    - ports:
      - port: "82"
        protocol: TCP
"""
BROKEN = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: broken, namespace: demo}
spec:
  endpointSelector: {}
  ingress:
  - toPorts:
    - ports:
      - {port: "80", protocol: UDP}
      rules:
        http:
        - path: "("
"""
INGRESS = "spec.ingress[0].toPorts"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A policy with rules of all kinds."""
    path = tmp_path / "shop.yaml"
    path.write_text(POLICY)
    return path


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A policy with two faults."""
    path = tmp_path / "broken.yaml"
    path.write_text(BROKEN)
    return path


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, list[str]]:
    """Run ``bpfast check`` in this process; return exit code and lines."""
    with pytest.raises(SystemExit) as ended:
        main(["check", *map(str, words)])
    said = capsys.readouterr()
    assert said.err == ""
    return int(ended.value.code or 0), said.out.splitlines()


def test_every_rule_has_a_line(shop: Path) -> None:
    """In file order: rules by their places, an entry without rules by its own; no layer 4."""
    lines = check_files([shop]).lines

    assert [
        (f"{INGRESS}[0].rules.http[0]", 17, Where.KERNEL),
        (f"{INGRESS}[0].rules.http[1]", 19, Where.KERNEL),
        (f"{INGRESS}[1].rules.http[0]", 27, Where.ENVOY),
        (f"{INGRESS}[1].rules.http[1]", 28, Where.ENVOY),
        ("spec.ingress[1].toPorts[0]", 35, Where.ENVOY),
    ] == [(line.path, line.line, line.where) for line in lines]
    assert {("demo/shop", str(shop))} == {(line.policy, line.file) for line in lines}


def test_reasons_say_why(shop: Path) -> None:
    """Nothing about a rule that just works; the cause and the way out about all others."""
    reasons = [line.reason for line in check_files([shop]).lines]

    assert "" == reasons[0]
    assert (
        "can never match: no header can be called 'X-Foo:1': write 'Name: value', with a space" == reasons[1]
    )
    assert reasons[2] == reasons[3]
    assert "terminatingTLS" in reasons[2]
    assert "authentication" in reasons[4]


def test_faults_are_refused_and_end_nothing(shop: Path, broken: Path) -> None:
    """Each fault is a line with its place; the other policies are looked at all the same."""
    report = check_files([broken, shop])
    faults = report.lines[:2]

    assert {Where.REFUSED} == {line.where for line in faults}
    assert {(9, 12)} == {tuple(line.line for line in faults)}
    assert 5 == len(report.lines) - len(faults)
    assert (2, 2, 3) == tuple(map(report.count, (Where.REFUSED, Where.KERNEL, Where.ENVOY)))


def test_files_stand_in_the_order_in_which_they_were_named(shop: Path, broken: Path) -> None:
    """And in each of them the lines."""
    for order in ([broken, shop], [shop, broken]):
        assert list(map(str, order)) == list(dict.fromkeys(line.file for line in check_files(order).lines))


def test_a_rule_that_is_too_large_is_refused_by_name(tmp_path: Path) -> None:
    """With the limit that it passes and what to do; the rule before it is not touched."""
    path = tmp_path / "large.yaml"
    path.write_text(POLICY.replace('headers: ["X-Foo:1"]', "path: /(a|b)*a(a|b){16}"))
    first, second, *_ = check_files([path]).lines

    assert (Where.KERNEL, "") == (first.where, first.reason)
    assert Where.REFUSED is second.where
    assert f"{INGRESS}[0].rules.http[1]" == second.path
    assert second.reason.startswith(
        "too large for a table beside 1 other rules for the same peers and port: more"
    )
    assert "write it simpler" in second.reason


@pytest.mark.parametrize(
    ("before", "after", "part"),
    (
        ("  - toPorts:\n", "  - fromEndpoints: []\n    toPorts:\n", "an empty list of peers selects nobody"),
        (
            '    - ports:\n      - port: "80"\n        protocol: TCP\n      rules',
            "    - ports: []\n      rules",
            "no ports",
        ),
    ),
)
def test_rules_for_nobody_are_told_so(tmp_path: Path, before: str, after: str, part: str) -> None:
    """Peers or ports that are an empty list open nothing; Cilium takes them all the same."""
    path = tmp_path / "nobody.yaml"
    path.write_text(POLICY.replace(before, after, 1))
    first = check_files([path]).lines[0]

    assert Where.KERNEL is first.where
    assert first.reason.startswith("can never match: ")
    assert part.replace("no ports", "without ports") in first.reason


def test_rules_for_dns_and_for_names_stay() -> None:
    """Each rule of DNS has a line of its own."""
    lines = check_files([ROOT / "manifests" / "examples" / "egress-to-names.yaml"]).lines

    assert ["spec.egress[0].toPorts[0].rules.dns[0]", "spec.egress[1].toPorts[0].rules.http[0]"] == [
        line.path for line in lines
    ]
    assert {Where.ENVOY} == {line.where for line in lines}


def test_json_has_the_fields_that_tools_rely_on(capsys: pytest.CaptureFixture[str], shop: Path) -> None:
    """One object a line; exit code 0 as long as nothing is refused."""
    code, lines = run(capsys, shop, "--json")
    objects: list[dict[str, Any]] = [json.loads(line) for line in lines]

    assert 0 == code
    assert [["policy", "path", "where", "reason", "file", "line"]] * 5 == [list(each) for each in objects]
    assert ["kernel", "kernel", "envoy", "envoy", "envoy"] == [each["where"] for each in objects]


@pytest.mark.parametrize("words", ((), ("--json",)))
def test_what_is_refused_has_exit_code_2(
    capsys: pytest.CaptureFixture[str], shop: Path, broken: Path, words: tuple[str, ...]
) -> None:
    """And everything is printed before."""
    code, lines = run(capsys, shop, broken, *words)

    assert (2, 7) == (code, len(lines))


def test_a_pipe_gets_lines_that_begin_with_the_place(capsys: pytest.CaptureFixture[str], shop: Path) -> None:
    """As a compiler writes them, without colours, however long."""
    _, lines = run(capsys, shop)

    assert f"{shop}:17: kernel: demo/shop {INGRESS}[0].rules.http[0]" == lines[0]
    assert lines[2].startswith(f"{shop}:27: envoy: demo/shop {INGRESS}[1].rules.http[0]: terminatingTLS is")
    assert not any("\x1b" in line for line in lines)


def on_terminal(width: int, *words: str | Path, **environment: str) -> tuple[int, str]:
    """Run ``bpfast check`` on a terminal of its own; return exit code and what is drawn there."""
    ours, theirs = pty.openpty()
    variables = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "COLUMNS": str(width), **environment}
    command = [COMMAND, "check", *map(str, words)]
    with subprocess.Popen(command, stdout=theirs, stdin=subprocess.DEVNULL, env=variables) as child:
        os.close(theirs)
        drawn = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the other side is gone
                break
            drawn += part
        code = child.wait(timeout=30)
    os.close(ours)
    return code, drawn.decode().replace("\r\n", "\n")


def test_a_person_gets_a_table(shop: Path, broken: Path) -> None:
    """Grouped by file and policy, with line, place, the rule as one would say it, and a summary."""
    code, text = on_terminal(100, shop, broken, NO_COLOR="1")
    lines = [line.rstrip() for line in text.splitlines()]

    assert 2 == code
    assert f"{shop}  demo/shop" in lines
    assert f"   17  kernel   GET /public  {INGRESS}[0].rules.http[0]" in lines
    assert " " * 16 + "terminatingTLS is done by Envoy: the kernel sees encrypted bytes" in lines
    assert "2 in the kernel, 3 left to Envoy, 2 refused" == lines[-1]


@pytest.mark.parametrize("width", (40, 60, 120))
def test_the_table_is_as_wide_as_the_terminal(shop: Path, width: int) -> None:
    """Nothing is cut off: long reasons and paths go on below."""
    _, text = on_terminal(width, shop, NO_COLOR="1")
    table = [line for line in text.splitlines() if not line.startswith(str(shop))]

    assert max(map(len, table)) <= width
    assert "encrypted" in text
    assert f"{INGRESS}[1].rules.http[1]" in "".join(line.strip() for line in table)


def test_colours_are_for_terminals_that_want_them(shop: Path) -> None:
    """A terminal has them, NO_COLOR takes them away."""
    assert "\x1b[32mkernel" in on_terminal(80, shop)[1]
    assert "\x1b[3" not in on_terminal(80, shop, NO_COLOR="1")[1]


def test_a_policy_without_such_rules_has_no_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """What stops at layer 4 is no business of this command."""
    path = ROOT / "manifests" / "examples" / "metrics-l4-only.yaml"

    assert (0, []) == run(capsys, path)
    assert "no layer-7 rules\n" == on_terminal(80, path, NO_COLOR="1")[1]


def test_nothing_in_a_policy_can_steer_the_terminal(tmp_path: Path) -> None:
    """What cannot be printed is spelled out: an escape sequence in a regex does nothing."""
    path = tmp_path / "escape.yaml"
    path.write_text(POLICY.replace("path: /public", 'path: "/\\e]2J\\n"'))
    _, text = on_terminal(100, path, NO_COLOR="1")

    assert "\x1b" not in text
    assert "GET /\\x1b]2J\\n  spec" in text


def test_a_file_that_cannot_be_read_is_a_line_among_others(tmp_path: Path) -> None:
    """The other files are checked all the same; where there is no other, that is the fault."""
    (tmp_path / "good.yaml").write_text(json.dumps(policy("web", GET_PUBLIC)))
    (tmp_path / "latin1.yaml").write_bytes(b"# caf\xe9\n")
    report = check_files([tmp_path])
    assert [Where.KERNEL, Where.REFUSED] == [line.where for line in report.lines]
    assert "is not UTF-8 text" in report.lines[1].reason
    with pytest.raises(BadInput, match="is not UTF-8 text"):
        check_files([tmp_path / "latin1.yaml"])
