# SPDX-License-Identifier: Apache-2.0
"""The command line: its help, its examples, and what it refuses before it does anything."""

import json
import shlex
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import pytest

from bpfast import __version__
from bpfast.abi import REASONS
from bpfast.cli import cli, main

VERBS = ("run", "verdict", "check", "compile", "doctor")
OPTIONS = {
    "run": "--endpoints --policy --hook --deny --default --events --timing --keep --json",
    "verdict": "--policy --endpoints --direction --endpoint --peer --port --engine --scenarios",
    "check": "paths --json",
    "compile": "paths --json --show",
    "doctor": "--json --reasons",
}
VERDICT = "verdict --policy p.yaml --endpoints e.yaml --endpoint a/b --peer c/d --port 80"


def bpfast(capsys: pytest.CaptureFixture[str], line: str) -> tuple[int, str, str]:
    """Run the command in this process; return exit code, stdout and stderr."""
    with pytest.raises(SystemExit) as ended:
        main(shlex.split(line))
    said = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, said.out, said.err


def help_of(capsys: pytest.CaptureFixture[str], verb: str) -> str:
    """Return what ``bpfast VERB --help`` prints."""
    code, out, err = bpfast(capsys, f"{verb} --help")
    assert (0, "") == (code, err)
    return out


def examples(text: str) -> list[list[str]]:
    """Return the words of each ``bpfast`` command in the examples of a help text, pipes left out."""
    lines = text.split("  Examples:\n")[1].replace("\\\n", " ").replace("|\n", "| ").splitlines()
    words = [shlex.split(line) for line in lines if line.strip()]
    return [
        list(takewhile(lambda word: word not in ("|", "<"), line[line.index("bpfast") :])) for line in words
    ]


@pytest.mark.parametrize("verb", VERBS)
def test_help_ends_with_examples_that_parse(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    """The last thing in a help text are commands of this verb that the parser takes."""
    found = examples(help_of(capsys, verb))

    assert len(found) >= 1
    for program, named, *words in found:
        assert ("bpfast", verb) == (program, named)
        cli.commands[verb].make_context(verb, words)


@pytest.mark.parametrize("verb", VERBS)
def test_options_are_those_that_tools_rely_on(verb: str) -> None:
    """Neither more nor fewer than the stable ones."""
    found = {name for option in cli.commands[verb].params for name in option.opts}

    assert set(OPTIONS[verb].split()) == found


def test_all_verbs_have_been_looked_at() -> None:
    """A new verb has to be added here."""
    assert set(VERBS) == set(cli.commands)


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    """It is printed by --version."""
    assert (0, f"bpfast, version {__version__}\n", "") == bpfast(capsys, "--version")


@pytest.mark.parametrize(
    ("line", "message"),
    (
        (VERDICT, "e.yaml: cannot be read: No such file or directory"),
        (f"{VERDICT} --engine model", "e.yaml: cannot be read: No such file or directory"),
        ("check no.yaml", "no.yaml: cannot be read: No such file or directory"),
        ("compile no.yaml", "no.yaml: cannot be read: No such file or directory"),
    ),
)
def test_what_is_refused_is_named(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    line: str,
    message: str,
) -> None:
    """Exit code 2, one line on stderr, nothing on stdout."""
    monkeypatch.chdir(tmp_path)

    assert (2, "", f"{message}\n") == bpfast(capsys, line)


@pytest.mark.parametrize(
    ("line", "part"),
    (
        ("run --policy p", "Missing option '--endpoints'"),
        ("run --endpoints e", "Missing option '--policy'"),
        ("run --endpoints e --policy p --hook ebpf", "'ebpf' is not one of 'xdp', 'tcx', 'xdp-native'"),
        ("run --endpoints e --policy p --deny no", "'no' is not one of 'reply', 'reset', 'drop'"),
        ("run --endpoints e --policy p --default x", "'x' is not one of 'allow', 'deny'"),
        ("run --endpoints e --policy p --events x", "'x' is not one of 'all', 'denied', 'none'"),
        ("run --endpoints e --policy p --no-such", "No such option"),
        (f"{VERDICT} --port 65536", "65536 is not in the range 1<=x<=65535"),
        ("verdict --policy p", "missing option --endpoints"),
        ("verdict --policy p --endpoints e --endpoint a/b --port 1", "missing option --peer"),
        ("verdict --scenarios --port 80", "--port stands in each scenario"),
        (f"{VERDICT} --engine envoy", "'envoy' is not one of 'kernel', 'model'"),
        ("check", "Missing argument 'PATH...'"),
        ("compile p --show nfa", "'nfa' is not 'dfa'"),
        ("observe", "No such command 'observe'"),
    ),
)
def test_wrong_usage_has_exit_code_2(capsys: pytest.CaptureFixture[str], line: str, part: str) -> None:
    """The message names the option and the values that would do."""
    code, out, err = bpfast(capsys, line)

    assert (2, "") == (code, out)
    assert part in err


def test_reasons_are_listed_one_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """As text and as JSON, in the order of the kernel's numbers."""
    names = [reason.name.lower() for reason in REASONS]

    assert names == bpfast(capsys, "doctor --reasons")[1].splitlines()
    lines = bpfast(capsys, "doctor --reasons --json")[1].splitlines()
    assert names == [json.loads(line)["reason"] for line in lines]
    assert {"rule", "no_rule", "bad_chunk", "bad_path", "repeated_header"} <= set(names)


@pytest.mark.parametrize(
    ("words", "expected"),
    (
        ("check manifests/examples >/dev/full", (1, "the output cannot be written: No space left on device")),
        ("check manifests/examples >&-", (1, "stdout is closed: there is nowhere to print to")),
        ("verdict --scenarios <&-", (2, "stdin is closed: send streams or scenarios")),
        ("doctor --reasons | true", (0, "")),
    ),
)
def test_no_place_to_print_or_to_read_from(repository: Path, words: str, expected: tuple[int, str]) -> None:
    """A full disk, a closed end and a reader that has gone are said in a line, if at all."""
    command = f"set -o pipefail; {sys.executable} -m bpfast {words}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=repository, capture_output=True, text=True, timeout=60, check=False
    )
    code, message = expected
    assert (code or done.returncode) == done.returncode
    assert message in done.stderr
    assert "Traceback" not in done.stderr
