# SPDX-License-Identifier: Apache-2.0
"""Copies of ``bpf/`` with one defence taken out, to show that a test can fail.

A mutant is a few exact replacements of text. A text that is not there exactly
once ends with an error, so that a mutant never outlives its defence in silence.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Edit:
    """In ``file`` (below ``bpf/``) the one ``old`` becomes ``new``."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """What is taken out, in words, and how."""

    without: str
    edits: tuple[Edit, ...]

    def plant(self, source: Path, target: Path) -> Path:
        """Copy ``source`` (``bpf/``) to ``target`` without the defence; return ``target``."""
        shutil.copytree(source, target)
        for edit in self.edits:
            path = target / edit.file
            text = path.read_text()
            found = text.count(edit.old)
            if found != 1:
                raise ValueError(
                    f"mutant without {self.without!r}: {edit.old!r} is {found} times in {edit.file!r}, "
                    "exactly 1 is needed: the defence has moved, so must the mutant"
                )
            path.write_text(text.replace(edit.old, edit.new))
        return target


_REPEATED = "if (flow->tag == embryo.server && flow->client_start == embryo.client)\n\t\t\treturn;"
_SERVER_FIN = "if (watched(flow->server) & (SERVER_FIN | SERVER_EARLY) && packet->length) {"
_OLD = "if (packet->length && !after(end, c->acked))"
_NO_FLOW = "return judge(ctx, c, OUTCOME_RESET_SENDER, REASON_NO_FLOW);"
_ANSWERED = "if (stage != FLOW_OPEN && stage != FLOW_DRAINED) {"
_CLAIM = "if (__sync_val_compare_and_swap(&flow->claim, 0ULL, 1ULL) != 0)"
_FIN_IN_HEAD = (
    "if (c->head.phase == PHASE_HEAD)\n\t\t\treturn judge(ctx, c, OUTCOME_RESET, REASON_FIN_IN_HEAD);"
)
_EQUAL = "if (!is_copied(c, flow, index, bytes))"
_MARK = "return keep_out(REASON_NO_MARK);"
_STRADDLES = "if (packet->length && before(packet->seq, c->acked))"
_BELOW = "if (before(c->packet.seq, c->acked - 1))"
_TAKEN_RESET = "if (!before(c->packet.seq, c->acked) && !after(c->packet.seq, flow->furthest)) {"
_REBORN = "watched_set(&flow->server, flow->tag, SERVER_REBORN);"

MUTANTS = {
    "repeated_syn_ack": Mutant(
        "a repeated SYN-ACK of the same incarnation changes nothing",
        (Edit("lib/witness.h", _REPEATED, "if (0)\n\t\t\treturn;"),),
    ),
    "reborn": Mutant(
        "a SYN-ACK of another incarnation is told to the flow, and the client's reset before it ends it",
        (
            Edit("lib/witness.h", _REBORN, ""),
            Edit("stages/flow.c", _TAKEN_RESET, "if (0) {"),
        ),
    ),
    "bare_ack": Mutant(
        "a bare ACK without a flow never passes",
        (Edit("stages/header.c", _NO_FLOW, f"if (!packet->length)\n\t\treturn pass(ctx, c);\n\t{_NO_FLOW}"),),
    ),
    "server_fin": Mutant(
        "no payload after the server's FIN, nothing that the server has acknowledged or that was changed",
        (
            Edit("stages/flow.c", _SERVER_FIN, "if (0) {"),
            Edit("stages/flow.c", _OLD, "if (0)"),
            Edit("stages/flow.c", _STRADDLES, "if (0)"),
            Edit("stages/flow.c", _BELOW, "if (0)"),
            Edit("stages/prove.c", _EQUAL, "if (0)"),
        ),
    ),
    "own_answer": Mutant(
        "the watcher believes nothing once we have answered",
        (Edit("stages/watch.c", _ANSWERED, "if (0) {"),),
    ),
    "claim": Mutant(
        "one CPU inside a flow",
        (Edit("lib/flow.h", _CLAIM, "if (0)"),),
    ),
    "fin_in_head": Mutant(
        "FIN inside a head is a reset",
        (Edit("stages/http.c", _FIN_IN_HEAD, ""),),
    ),
    "equal_bytes": Mutant(
        "a retransmission passes only when it is byte-equal",
        (Edit("stages/prove.c", _EQUAL, "if (0)"),),
    ),
    "guard": Mutant(
        "the guard drops what carries no mark",
        (Edit("stages/guard.c", _MARK, "count_reason(REASON_NO_MARK);\n\treturn unjudged();"),),
    ),
}
