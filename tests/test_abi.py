# SPDX-License-Identifier: Apache-2.0
"""``bpf/lib/abi.h`` and its mirror in Python say the same, in both directions.

The header's side is what the host's C compiler makes of it (``bpf/header.py``).
Each part of the mirror is found by its name, so that a new constant, enum or
struct fails until both sides have it, or until it stands in KERNEL_ONLY.
"""

import inspect
import re
import struct
from collections.abc import Mapping
from enum import IntEnum, IntFlag
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import pytest

from bpfast import abi
from bpfast.abi import ActionWord, Direction, MapNumber, Reason, Slot, Verdict
from bpfast.events.response import ResponseEvent, decode_response
from bpfast.events.verdict import VerdictEvent, decode
from bpfast.kernel.compiler import PROGRAMS, TEXTS
from bpfast.kernel.maps import SHAPES
from bpfast.kernel.program import STAGES
from bpfast.kernel.state import EndpointConfig
from tests.bpf import header
from tests.bpf.header import Header
from tests.conftest import ROOT

BPF = ROOT / "bpf"
# What user space has no use for; all else is on both sides.
KERNEL_ONLY = {
    "ANSWERED_NS",
    "ENDED_NS",
    "RATE_WINDOW_NS",
    "SERVER_FIN_NS",
    "enum answer_index",
    "enum head_flag",
    "enum server_flag",
}
# What the header says in another way: as a size or as an enumerator, each compared below.
PYTHON_ONLY = {"ADDRESS_BYTES", "ANSWER_COUNT", "CONTEXT_BYTES"}
MIRRORED_SIZES: Mapping[str, int] = {
    **abi.SIZES,
    "address": abi.ADDRESS_BYTES,
    "action": 4 * abi.ACTION_WORDS,
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Header:
    """What ``abi.h`` says."""
    return header.load(BPF / "lib" / "abi.h", tmp_path_factory.mktemp("abi"))


def python_constants() -> dict[str, int]:
    """Return every integer constant of ``abi.py``."""
    return {name: value for name, value in vars(abi).items() if name.isupper() and type(value) is int}


def python_enums() -> dict[str, type[IntEnum | IntFlag]]:
    """Return every enum of ``abi.py`` under the name that it has in C."""
    own = [
        value for value in vars(abi).values() if inspect.isclass(value) and value.__module__ == abi.__name__
    ]
    enums = [value for value in own if issubclass(value, IntEnum | IntFlag) and value is not ActionWord]
    return {re.sub(r"(?<=.)([A-Z])", r"_\1", enum.__name__).lower(): enum for enum in enums}


def mirrored_enums(said: Header) -> dict[str, dict[str, int]]:
    """Return the enums of the header that user space knows too, their prefixes cut off."""
    return {
        enum: header.members({name: value for name, value in each.items() if name not in KERNEL_ONLY})
        for enum, each in said.enums.items()
        if f"enum {enum}" not in KERNEL_ONLY
    }


def test_the_header_is_read_whole(said: Header) -> None:
    """Nothing in the header escapes: each definition and each enumerator in its text was read."""
    text = header.without_comments((BPF / "lib" / "abi.h").read_text())
    enums = re.findall(r"^enum \w+ \{(.*?)^\};", text, re.MULTILINE | re.DOTALL)

    assert len(re.findall(r"^#define", text, re.MULTILINE)) - 1 == len(said.constants)
    assert len(re.findall(r"^enum", text, re.MULTILINE)) == len(said.enums)
    assert len(re.findall(r"^struct", text, re.MULTILINE)) == len(said.sizes)
    assert [body.count(",") for body in enums] == [len(each) for each in said.enums.values()]


def test_constants_are_equal(said: Header) -> None:
    """Every constant has one value on both sides, and none is missing on either."""
    expected = {name: value for name, value in said.constants.items() if name not in KERNEL_ONLY}
    actual = {name: value for name, value in python_constants().items() if name not in PYTHON_ONLY}

    assert expected == actual


def test_enums_are_equal(said: Header) -> None:
    """Every enum has the same members with the same values on both sides, and none is missing on either."""
    actual = {
        name: {key: int(value) for key, value in enum.__members__.items()}
        for name, enum in python_enums().items()
    }

    assert mirrored_enums(said) == actual


def test_sizes_are_equal(said: Header) -> None:
    """Every struct has one size on both sides, and none is missing on either."""
    assert said.sizes == MIRRORED_SIZES


def test_structs_have_no_holes(said: Header) -> None:
    """The fields of a struct lie side by side: as a key of a map its bytes are all compared."""
    for name, fields in said.fields.items():
        end = 0
        for field_name, field in fields.items():
            assert (name, field_name, end) == (name, field_name, field.offset)
            end += field.size
        assert (name, end) == (name, said.sizes[name])


def test_action_words_are_the_fields_of_an_action(said: Header) -> None:
    """Each member of ActionWord is where the field of its name lies; a long one is two words, low first."""
    expected: dict[str, int] = {}
    for name, field in said.fields["action"].items():
        parts = (name,) if field.size == 4 else (f"{name}_lo", f"{name}_hi")
        expected |= {part.upper(): field.offset // 4 + index for index, part in enumerate(parts)}
    del expected["RESERVED"]

    assert expected == {name: int(value) for name, value in ActionWord.__members__.items()}


def test_what_is_for_the_kernel_alone_exists_there_alone(said: Header) -> None:
    """Each name in KERNEL_ONLY is in the header and not in Python, so that the list cannot grow old."""
    named = {f"enum {enum}" for enum in said.enums} | set(said.constants)
    named |= {name for each in said.enums.values() for name in each}
    mirrored = {f"enum {enum}" for enum in python_enums()} | set(python_constants())
    mirrored |= {f"MAP_{number.name}" for number in MapNumber}

    assert set() == KERNEL_ONLY - named
    assert set() == KERNEL_ONLY & mirrored


def test_arrays_are_as_long_as_their_limits(said: Header) -> None:
    """An array whose length is written as a number is as long as the constants beside it say."""
    assert abi.INLINE_COPY + abi.COPY_SLACK == said.fields["flow"]["copy"].size
    assert abi.EVENT_BYTES == said.fields["event"]["bytes"].size
    assert abi.ANSWER_BYTES == said.fields["answer"]["text"].size
    assert 65536 // 8 == said.fields["endpoint"]["inspected"].size
    assert abi.ANSWER_COUNT == said.enums["answer_index"]["ANSWER_COUNT"] == len(abi.ANSWERS)


def test_the_context_is_as_large_as_its_map(tmp_path: Path) -> None:
    """CONTEXT_BYTES is the size of struct context."""
    program = (
        '#include <stdio.h>\n#include "lib/context.h"\n'
        'int main(void)\n{\n\tprintf("%zu\\n", sizeof(struct context));\n\treturn 0;\n}\n'
    )

    assert [[str(abi.CONTEXT_BYTES)]] == header.run(program, tmp_path, BPF)


def test_an_answer_is_packed_as_the_header_lays_it_out(said: Header) -> None:
    """pack_answer() puts length and text where struct answer has them, zeros behind."""
    fields = said.fields["answer"]
    for text in abi.ANSWERS:
        raw = abi.pack_answer(text)
        length, body = fields["length"], fields["text"]

        assert said.sizes["answer"] == len(raw)
        assert len(text) == int.from_bytes(raw[length.offset : length.offset + length.size], "little")
        assert text.ljust(body.size, b"\0") == raw[body.offset : body.offset + body.size]


@pytest.mark.parametrize("address", (IPv4Address("10.1.2.3"), IPv6Address("fd00::1")), ids=str)
def test_an_address_comes_back(address: IPv4Address | IPv6Address) -> None:
    """pack_address() makes ADDRESS_BYTES bytes of an address, unpack_address() the address of them."""
    raw = abi.pack_address(address)

    assert abi.ADDRESS_BYTES == len(raw)
    assert address == abi.unpack_address(raw)


def formats() -> dict[str, tuple[str, str]]:
    """Return each format of the package that has the name of a struct: (struct, format) by place."""
    found = {}
    for path in sorted((ROOT / "addon" / "bpfast").rglob("*.py")):
        for name, form in re.findall(
            r'^_?([A-Z_0-9]+) = struct\.Struct\("(.*)"\)', path.read_text(), re.MULTILINE
        ):
            if name.lower() in MIRRORED_SIZES:
                found[f"{path.relative_to(ROOT)}: {name}"] = (name.lower(), form)
    return found


@pytest.mark.parametrize("place", formats())
def test_formats_have_the_fields_of_their_structs(said: Header, place: str) -> None:
    """A format that is named for a struct has fields of the same sizes in the same order, without padding."""
    name, form = formats()[place]
    parts = re.findall(r"(\d*)([a-zA-Z])", form)
    codes = [
        f"={count}s" if code == "s" else f"={code}" for count, code in parts for _ in repeat(count, code)
    ]

    assert "=" == form[0]
    assert [field.size for field in said.fields[name].values()] == [struct.calcsize(code) for code in codes]


def repeat(count: str, code: str) -> range:
    """Return as many numbers as this part of a format has fields."""
    return range(1 if code == "s" else int(count or 1))


def packed(said: Header, name: str, values: Mapping[str, int | bytes]) -> bytes:
    """Return a struct with these values in its fields, all others zero."""
    raw = bytearray(said.sizes[name])
    for field_name, value in values.items():
        field = said.fields[name][field_name]
        data = value.to_bytes(field.size, "little") if isinstance(value, int) else value
        raw[field.offset : field.offset + len(data)] = data
    return bytes(raw)


def test_an_endpoint_is_packed_as_the_header_lays_it_out(said: Header) -> None:
    """EndpointConfig.pack() puts each part where struct endpoint has it."""
    config = EndpointConfig(
        enforced=True,
        timing=True,
        generation=0x01020304,
        policy=0x05060708,
        deny_mode=abi.DenyMode.DROP,
        event_mode=abi.EventMode.DENIED,
        mark=0x1112131415161718,
        inspected=frozenset({0, 80, 65535}),
        direction=Direction.EGRESS,
    )
    ports = bytearray(8192)
    ports[0], ports[10], ports[8191] = 1, 1, 128
    expected: dict[str, int | bytes] = {
        "flags": said.enums["endpoint_flag"]["ENDPOINT_ENFORCED"]
        | said.enums["endpoint_flag"]["ENDPOINT_TIMING"]
        | said.enums["endpoint_flag"]["ENDPOINT_EGRESS"],
        "generation": 0x01020304,
        "deny_mode": said.enums["deny_mode"]["DENY_DROP"],
        "event_mode": said.enums["event_mode"]["EVENTS_DENIED"],
        "policy": 0x05060708,
        "mark": 0x1112131415161718,
        "inspected": bytes(ports),
    }

    assert packed(said, "endpoint", expected) == config.pack()


def test_an_event_is_read_as_the_header_lays_it_out(said: Header) -> None:
    """decode() takes each part of an event from where struct event has it."""
    numbers = {"time": 1 << 40, "nanoseconds": 1 << 33, "endpoint": 3, "rule_set": 4, "serial": 5, "rule": 6}
    numbers |= {"offset": 7, "peer_port": 40000, "port": 80}
    verdict = {
        "direction": said.enums["direction"]["DIRECTION_EGRESS"],
        "verdict": said.enums["verdict"]["VERDICT_DENY"],
        "reason": said.enums["reason"]["REASON_BAD_PATH"],
    }
    peer = IPv4Address("10.0.0.1")
    head = b"GET /a"
    raw = packed(
        said,
        "event",
        {
            **numbers,
            **verdict,
            "peer": abi.pack_address(peer),
            "length": len(head),
            "bytes": head + b"behind",
        },
    )
    expected = VerdictEvent(
        **numbers,
        verdict=Verdict.DENY,
        reason=Reason.BAD_PATH,
        direction=Direction.EGRESS,
        peer=peer,
        head=head,
    )

    assert expected == decode(raw)


def test_a_response_is_read_as_the_header_lays_it_out(said: Header) -> None:
    """decode_response() takes each part of an answer from where struct response has it."""
    numbers = {"time": 1 << 40, "nanoseconds": 1 << 33, "endpoint": 3, "offset": 7}
    numbers |= {"peer_port": 40000, "port": 80, "status": 404}
    peer = IPv4Address("10.0.0.1")
    direction = said.enums["direction"]["DIRECTION_EGRESS"]
    raw = packed(said, "response", {**numbers, "direction": direction, "peer": abi.pack_address(peer)})

    assert ResponseEvent(**numbers, direction=Direction.EGRESS, peer=peer) == decode_response(raw)


def test_stages_are_in_the_order_of_the_slots() -> None:
    """STAGES has a program for each slot, in the enum's order, named as the slot."""
    slots = [slot for slot in Slot if slot is not Slot.MAX]

    assert [(slot, f"bpfast_{slot.name.lower()}") for slot in slots] == list(STAGES.items())


@pytest.mark.parametrize("hook", TEXTS)
def test_programs_are_those_of_the_text(hook: str) -> None:
    """PROGRAMS names each program of a hook's text, in its order."""
    text = (BPF / TEXTS[hook]).read_text()

    assert re.findall(r"^int (bpfast_\w+)\(", text, re.MULTILINE) == list(PROGRAMS[hook])


def test_every_map_has_a_shape_and_a_line() -> None:
    """The maps of MapNumber, of SHAPES and of the paragraph in maps.h are the same, in the same order."""
    names = [number.name.lower() for number in MapNumber]

    assert list(MapNumber) == list(SHAPES)
    assert names == [name for name, _ in documented_maps()]


def documented_maps() -> list[tuple[str, str]]:
    """Return the maps that the paragraph of ``maps.h`` names, with what it says of each."""
    text = (BPF / "lib" / "maps.h").read_text().split("*/")[1]
    return re.findall(r"^ \*   (\w+) {2,}(.*(?:\n \* {10}.*)*)", text, re.MULTILINE)


@pytest.mark.parametrize(("name", "line"), documented_maps(), ids=[name for name, _ in documented_maps()])
def test_maps_have_the_sizes_of_their_structs(said: Header, name: str, line: str) -> None:
    """Key and value of a map are as large as the structs that maps.h names, its entries as the limit says."""
    shape = SHAPES[MapNumber[name.upper()]]
    key = re.match(r"(?:prefix of a )?(\w+_key|address) ?->", line)
    value = re.search(r"(?:->|per CPU:) struct (\w+)", line)
    expected: dict[str, Any] = {
        "key": said.sizes[key[1]] if key else shape.key,
        "value": struct_size(said, value[1]) if value else shape.value,
        "entries": said.constants.get(f"MAX_{name.upper()}", shape.entries),
    }

    assert expected == {"key": shape.key, "value": shape.value, "entries": shape.entries}


def struct_size(said: Header, name: str) -> int:
    """Return the size of a struct; the context is no part of ``abi.h`` and is compared elsewhere."""
    return abi.CONTEXT_BYTES if name == "context" else said.sizes[name]
