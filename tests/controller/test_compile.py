# SPDX-License-Identifier: Apache-2.0
"""What ``bpfast compile`` counts, and which rules share a table."""

import json
from pathlib import Path
from typing import Any

import pytest

from bpfast.cli import main
from bpfast.controller.compile import compile_policies
from bpfast.controller.show import show_dfa
from bpfast.policy.rules import HttpRule, RuleSet
from bpfast.tables.build import build
from bpfast.tables.image import read as layout_of
from tests.policy.policies import FROM_CLIENT, policy, port, read, rule

Object = dict[str, Any]

OTHER: Object = {"fromEndpoints": [{"matchLabels": {"app": "other"}}]}
KEYS = ["rules", "groups", "states", "classes", "bytes", "milliseconds", "refused"]


def get(path: str) -> Object:
    """Return an HTTP rule."""
    return {"method": "GET", "path": path}


def names(*policies: Object) -> list[list[str]]:
    """Return the paths of the rules of each table."""
    return [
        [each.path or "" for each in rules.rules] for rules in compile_policies(read(*policies)).rule_sets
    ]


def test_rules_that_may_meet_share_a_table() -> None:
    """In file order, over policies and entries, and through what lies between."""
    first = policy(rule(FROM_CLIENT | {"toPorts": [port(80, get("/a"))]}), name="a")
    second = policy(rule({"toPorts": [port(80, get("/b"), ports=(81,))]}), name="b")
    third = policy(rule(OTHER | {"toPorts": [port(81, get("/c"))]}), name="c")

    assert [["/a", "/b", "/c"]] == names(first, second, third)
    assert [["/a"], ["/c"]] == names(first, third)


def test_rules_that_never_meet_have_tables_of_their_own() -> None:
    """By peer, by port, by endpoint, by direction."""
    client = FROM_CLIENT | {"toPorts": [port(80, get("/a"))]}
    elsewhere = rule(client, endpointSelector={"matchLabels": {"app": "other"}})

    assert [["/a"], ["/b"]] == names(policy(rule(client, OTHER | {"toPorts": [port(80, get("/b"))]})))
    assert [["/a"], ["/b"]] == names(policy(rule(client, FROM_CLIENT | {"toPorts": [port(81, get("/b"))]})))
    assert [["/a"], ["/a"]] == names(policy(rule(client)), policy(elsewhere, name="q"))
    out = rule(client, egress=[{"toEndpoints": [{}], "toPorts": [port(80, get("/b"))]}])
    assert [["/a"], ["/b"]] == names(policy(out))


def test_figures_are_those_of_the_tables() -> None:
    """Added up, equal tables once; the widest table's classes."""
    text = policy(
        rule(
            FROM_CLIENT | {"toPorts": [port(80, get("/a"), get("/b.*")), port(81, get("/c"))]},
            OTHER | {"toPorts": [port(82, get("/c"))]},
        )
    )
    compiled = compile_policies(read(text))
    one, two = (
        build(RuleSet(tuple(HttpRule(path, "GET", path) for path in paths))).image
        for paths in (("/a", "/b.*"), ("/c",))
    )
    totals = compiled.totals()

    assert KEYS == list(totals)
    assert {"rules": 4, "groups": 1, "refused": []}.items() <= totals.items()
    assert len(one.data) + len(two.data) == totals["bytes"]
    assert layout_of(one).states + layout_of(two).states == totals["states"]
    assert max(layout_of(one).stride, layout_of(two).stride) == totals["classes"]
    assert compiled.milliseconds > 0


def test_without_http_rules_there_is_nothing() -> None:
    """No table is no group either."""
    totals = compile_policies(read(policy(rule(FROM_CLIENT)))).totals()

    assert {
        "rules": 0,
        "groups": 0,
        "states": 0,
        "classes": 0,
        "bytes": 0,
        "refused": [],
    }.items() <= totals.items()


def test_a_rule_that_is_too_large_is_refused_alone() -> None:
    """By its name and with the limit; the rules beside it are compiled."""
    bomb = get("/(a|b)*a(a|b){16}")
    compiled = compile_policies(read(policy(rule({"toPorts": [port(80, get("/a"), bomb, get("/b"))]}))))
    (refused,) = compiled.refused

    assert "demo/p spec.ingress[0].toPorts[0].rules.http[1]" == refused.rule
    assert refused.reason.startswith("more than ")
    assert 2 == compiled.totals()["rules"]


def test_what_stays_on_envoy_is_counted_and_left_out() -> None:
    """It will be in no table of the kernel's."""
    held = port(443, get("/a"), get("/b")) | {"terminatingTLS": {"secret": {"name": "s", "namespace": "n"}}}
    compiled = compile_policies(read(policy(rule({"toPorts": [held, port(80, get("/c"))]}))))

    assert (2, 1) == (compiled.staying, compiled.totals()["rules"])


def test_automata_are_shown_with_their_rules() -> None:
    """Patterns first, each with the rules that have it; then the machine of each table."""
    text = show_dfa(compile_policies(read(policy(rule({"toPorts": [port(80, get("/ab"), {"host": "x"})]})))))

    assert (
        "=== table 0: 2 rules\n--- path\npattern 0: /ab  (demo/p spec.ingress[0].toPorts[0].rules.http[0])"
        in text
    )
    assert "--- host\npattern 0: x  (demo/p spec.ingress[0].toPorts[0].rules.http[1])" in text
    assert ">      1          / -> 2" in text
    assert "--- machine\n" in text


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A policy with one rule."""
    path = tmp_path / "p.json"
    path.write_text(json.dumps(policy(rule({"toPorts": [port(80, get("/ab"))]}))))
    return path


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Run ``bpfast compile`` in this process; return exit code, stdout and stderr."""
    with pytest.raises(SystemExit) as ended:
        main(["compile", *words])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def test_json_is_one_object(capsys: pytest.CaptureFixture[str], file: Path) -> None:
    """With the keys that other tools rely on; the automata only if asked for."""
    code, out, err = run(capsys, str(file), "--json")
    shown = json.loads(run(capsys, str(file), "--json", "--show", "dfa")[1])

    assert (0, "") == (code, err)
    assert KEYS == list(json.loads(out))
    assert [*KEYS, "dfa"] == list(shown)
    assert "pattern 0: /ab" in shown["dfa"]


def test_a_person_gets_a_table(capsys: pytest.CaptureFixture[str], file: Path) -> None:
    """One line a figure, each with what it means."""
    code, out, _ = run(capsys, str(file))

    assert 0 == code
    assert KEYS[:-1] == [line.split()[0] for line in out.splitlines()]


def test_bad_input_is_refused_whole(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Every fault on stderr, exit code 2; no figure of half a policy."""
    path = tmp_path / "p.json"
    path.write_text(json.dumps(policy(rule({"toPorts": [port(80, {"path": "("})]}))))
    code, out, err = run(capsys, str(path))

    assert (2, "") == (code, out)
    assert "spec.ingress[0].toPorts[0].rules.http[0].path" in err
