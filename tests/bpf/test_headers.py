# SPDX-License-Identifier: Apache-2.0
"""``make -C bpf check-headers``: the text keeps its rules, and whatever breaks one is found."""

import shutil
import subprocess
from pathlib import Path

import pytest

TARGETS = (
    "check-pure",
    "check-guards",
    "check-stages",
    "check-exits",
    "check-calls",
    "check-twins",
    "check-knobs",
)
# target: file, what is written into it, behind which line (0: at its end), what must be named
BREAKS = {
    "a header that needs another": ("check-pure", "lib/sequence.h", '#include "compat.h"', "", "s32"),
    "bcc syntax in a pure header": (
        "check-pure",
        "lib/walk.h",
        "return WALK_ON;",
        "return tables.lookup();",
        "tables",
    ),
    "an unused variable in a pure header": (
        "check-pure",
        "lib/packet.h",
        "u32 bytes;",
        "u32 bytes, more;",
        "more",
    ),
    "a guard of another name": (
        "check-guards",
        "lib/flow.h",
        "BPFAST_LIB_FLOW_H",
        "BPFAST_FLOW_H",
        "lib/flow.h",
    ),
    "a guard that ends unnamed": (
        "check-guards",
        "lib/maps.h",
        "#endif /* BPFAST_LIB_MAPS_H */",
        "#endif",
        "lib/maps.h",
    ),
    "a stage that includes": (
        "check-stages",
        "stages/http.c",
        "#define TAIL",
        '#include "a.h"\n#define TAIL',
        "a.h",
    ),
    "a packet that leaves in silence": (
        "check-exits",
        "stages/http.c",
        "	if (!flow)\n		return drop(c, REASON_INTERNAL);",
        "	if (!flow)\n		return FRAME_DROP;",
        "stages/http.c",
    ),
    "a packet that passes unmarked": (
        "check-exits",
        "stages/prove.c",
        "	if (!c)\n		return FRAME_DROP;",
        "	if (!c)\n		return FRAME_PASS;",
        "stages/prove.c",
    ),
    "an action that is no return": (
        "check-exits",
        "lib/event.h",
        "	u64 now;",
        "	u64 now, action = XDP_TX;",
        "lib/event.h",
    ),
    "a packet that is sent elsewhere": (
        "check-exits",
        "lib/compose.h",
        "	return COMPOSED;",
        "	return bpf_redirect(1, 0);",
        "lib/compose.h",
    ),
    "a stage of one hook": (
        "check-twins",
        "stages/http.c",
        "frame_load(",
        "bpf_xdp_load_bytes(",
        "stages/http.c",
    ),
    "a header that chooses the hook": (
        "check-twins",
        "lib/slots.h",
        '#include "flow.h"',
        '#include "lib/frame_tcx.h"',
        "lib/slots.h",
    ),
    "a tail call beside the chain": (
        "check-calls",
        "stages/prove.c",
        "jump(ctx, SLOT_PROVE);",
        "bpf_tail_call_(0, ctx, 1);",
        "stages/prove.c",
    ),
    "a tail call in bcc's words": (
        "check-calls",
        "stages/prove.c",
        "jump(ctx, SLOT_PROVE);",
        "chain.call(ctx, 1);",
        "stages/prove.c",
    ),
    "a knob in a stage": (
        "check-knobs",
        "stages/flow.c",
        "	u32 unseen;",
        "#ifdef X\n#endif\n	u32 unseen;",
        "#ifdef X",
    ),
}


def make(bpf: Path, target: str) -> subprocess.CompletedProcess[str]:
    """Run one target of the Makefile in ``bpf``."""
    words = ["make", "-s", "-C", str(bpf), target]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("target", TARGETS)
def test_the_text_keeps_its_rules(repository: Path, target: str) -> None:
    """The kernel's text passes the check."""
    done = make(repository / "bpf", target)

    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("name", BREAKS)
def test_what_breaks_a_rule_is_found(tmp_path: Path, repository: Path, name: str) -> None:
    """A text with one rule broken fails that rule's check, and the place is named."""
    target, path, text, instead, named = BREAKS[name]
    bpf = tmp_path / "bpf"
    shutil.copytree(repository / "bpf", bpf)
    whole = (bpf / path).read_text()
    assert text in whole
    (bpf / path).write_text(whole.replace(text, instead, 1))
    done = make(bpf, target)

    assert 0 != done.returncode
    assert named in done.stdout + done.stderr


def test_all_rules_are_checked(repository: Path) -> None:
    """check-headers is made of the targets that are tested here."""
    words = ["make", "-n", "-p", "-C", str(repository / "bpf"), "check-headers"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)

    assert f"check-headers: {' '.join(TARGETS)}" in done.stdout.splitlines()
