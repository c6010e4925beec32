# SPDX-License-Identifier: Apache-2.0
"""What another version takes over means what it meant, or its number has changed."""

import hashlib
import re
from pathlib import Path

import pytest

from bpfast.abi import MapNumber
from bpfast.kernel import maps
from bpfast.kernel.maps import GROUPS, SHAPES, MapShape, layout, pin_name

HEADER = Path(__file__).resolve().parents[1] / "bpf" / "lib" / "abi.h"
FLOWS = ("address", "flow_key", "embryo", "ended", "head", "flow", "flow_stage", "server_flag", "phase")
TOLD = ("endpoint", "peer_key", "port_key", "port_policy", "rule_set")

# Does what stands in the maps still mean the same? Then write the new digest here; else another
# number in kernel/maps.py as well.
EXPECTED = {("FLOW_MEANING", 2): "4a8cd4621a09", ("TOLD_MEANING", 1): "95a0b40035f9"}


def text_of(*names: str) -> str:
    """Return the text of structs and enums, without comments and blanks."""
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.DOTALL)
    found = []
    for name in names:
        match = re.search(rf"(?:struct|enum) {name} {{.*?}};", text, flags=re.DOTALL)
        assert match, name
        found.append(" ".join(match[0].split()))
    return "\n".join(found)


@pytest.mark.parametrize(("name", "structs"), (("FLOW_MEANING", FLOWS), ("TOLD_MEANING", TOLD)))
def test_a_changed_struct_is_looked_at(name: str, structs: tuple[str, ...]) -> None:
    """The text of what is taken over is the one for which the number was given."""
    digest = hashlib.sha256(text_of(*structs).encode()).hexdigest()[:12]
    assert EXPECTED.get((name, getattr(maps, name))) == digest


def test_every_map_is_in_one_group_at_most() -> None:
    """No map is taken over for two reasons."""
    grouped = [number for group in GROUPS for number in group.maps]
    assert len(set(grouped)) == len(grouped)


@pytest.mark.parametrize("number", (MapNumber.CHAIN, MapNumber.CONTEXT, MapNumber.FRESH, MapNumber.ANSWERS))
def test_what_stages_hand_on_is_never_shared(number: MapNumber) -> None:
    """The chain and the context are each version's own."""
    assert all(number not in group.maps for group in GROUPS)


def test_maps_of_a_group_change_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another size of one map is another name for all that refer to it, and for no other."""
    before = {number: pin_name(number) for number in SHAPES}
    tables = SHAPES[MapNumber.TABLES]
    other = MapShape(tables.map_type, tables.key, tables.value * 2, tables.entries, tables.flags)
    monkeypatch.setattr(maps, "SHAPES", {**SHAPES, MapNumber.TABLES: other})
    changed = {number for number in SHAPES if pin_name(number) != before[number]}
    assert {
        MapNumber.ENDPOINTS,
        MapNumber.PEERS,
        MapNumber.PORT_POLICIES,
        MapNumber.RULE_SETS,
        MapNumber.TABLES,
    } == changed


def test_another_text_is_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs of another text never share a chain with ours."""
    before = layout()
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "abi.h").write_text("other")
    monkeypatch.setenv("BPFAST_BPF_DIRECTORY", str(tmp_path))
    assert before != layout()


def test_what_every_version_reads_stays_in_its_place() -> None:
    """Generation, mark and serial stand where a takeover looks for them, whatever else changes."""
    word = r"unsigned int \w+; "
    endpoint = rf"struct endpoint {{ {word}unsigned int generation; ({word}){{4}}unsigned long long mark;"
    rule_set = rf"struct rule_set {{ {word}unsigned int serial; ({word})*unsigned int retired; }}"
    assert re.match(endpoint, text_of("endpoint"))
    assert re.match(rule_set, text_of("rule_set"))
