# SPDX-License-Identifier: Apache-2.0
"""Each attack succeeds once its defence is taken out: the tests beside this one can fail."""

from collections.abc import Callable
from pathlib import Path

import pytest

from e2e.attacks import detours, handshakes, streams
from e2e.attacks.arena import Arena
from e2e.attacks.conftest import Weaken
from e2e.attacks.test_handshakes import COOKIES, SHORT_END
from e2e.mutants import MUTANTS, Edit, Mutant

Won = Callable[[Arena], object]
"""Makes an attack; the result is true when it has succeeded."""


def second_syn_ack(arena: Arena) -> object:
    """A flow that begins again at a repeated SYN-ACK takes other bytes for the head's beginning."""
    return arena.log(handshakes.repeated_syn_ack(arena))


def reborn(arena: Arena) -> object:
    """A flow that hears neither of the reset nor of another incarnation takes its request for a body."""
    return arena.log(handshakes.reborn_in_a_body(arena, 0))


def cookie(arena: Arena) -> object:
    """Where bare ACKs pass without a flow, one opens a socket by a cookie."""
    with arena.sysctl(**COOKIES):
        _name, sockets = handshakes.cookie_without_syn_ack(arena)
    return sockets


def silent_end(arena: Arena) -> object:
    """Old payload to a server that has sent FIN is served by a socket that a cookie opened.

    Every defence is out that stops it alone: payload after the server's FIN is
    thrown away, payload below its acknowledgement never passes, nor does a bare
    ACK there, and what was passed before must be equal.
    """
    with arena.sysctl(**COOKIES, **SHORT_END):
        return arena.log(handshakes.silent_end(arena))


def own_answer(arena: Arena) -> object:
    """A watcher that believes our answers has numbers that the server never sent.

    Nothing is served even so: the flow is answered, and the chain stands in.
    """
    done = streams.own_answer(arena)
    return done.before is not None and done.before != done.after


def two_processors(arena: Arena) -> object:
    """Two CPUs in one flow mix a denied beginning with an allowed rest."""
    name, _races = streams.two_processors(arena, 1)
    return [line for line in arena.log(name) if "/secret" in line]


def fin_in_path(arena: Arena) -> object:
    """http.server answers a path that was cut by FIN."""
    return all(arena.log(streams.fin_in_path(arena, alone=alone)) for alone in (False, True))


def fin_in_head(arena: Arena) -> object:
    """http.server answers a head without its empty line."""
    name, _sockets = streams.fin_in_head(arena)
    return arena.log(name)


def other_old_part(arena: Arena) -> object:
    """Other bytes in place of those that died behind the chain are served."""
    return arena.log(streams.other_old_part(arena))


def mixed_old_parts(arena: Arena) -> object:
    """``/ab`` and ``/cd`` mix to ``/ad``."""
    return all(arena.log(streams.mixed_old_parts(arena, width)) for width in (1, 1000))


def redirected(arena: Arena) -> object:
    """Packets that skip generic XDP are served."""
    return all(arena.log(detours.redirected(arena, means, peer=True)) for means in detours.DETOURS)


CASES: tuple[tuple[str, tuple[Won, ...]], ...] = (
    ("repeated_syn_ack", (second_syn_ack,)),
    ("reborn", (reborn,)),
    ("bare_ack", (cookie,)),
    ("server_fin", (silent_end,)),
    ("own_answer", (own_answer,)),
    ("claim", (two_processors,)),
    ("fin_in_head", (fin_in_path, fin_in_head)),
    ("equal_bytes", (other_old_part, mixed_old_parts)),
    ("guard", (redirected,)),
)


@pytest.mark.parametrize(("mutant", "attacks"), CASES, ids=[mutant for mutant, _attacks in CASES])
def test_without_its_defence_the_attack_succeeds(
    weaken: Weaken, mutant: str, attacks: tuple[Won, ...]
) -> None:
    """What the honest programs withstand, programs without the one defence do not."""
    arena = weaken(mutant)

    assert [] == [attack.__name__ for attack in attacks if not attack(arena)]


def test_every_mutant_is_shown() -> None:
    """No mutant is without an attack."""
    assert sorted(MUTANTS) == sorted(mutant for mutant, _attacks in CASES)


@pytest.mark.parametrize(("old", "found"), (("no such text", 0), ("the one text", 2)))
def test_a_mutant_whose_text_has_moved_fails(tmp_path: Path, old: str, found: int) -> None:
    """A defence that is not where the mutant looks for it, or is there twice, is an error."""
    source = tmp_path / "bpf"
    source.mkdir()
    (source / "a.c").write_text("the one text\nthe one text\n")
    mutant = Mutant("anything", (Edit("a.c", old, ""),))

    with pytest.raises(ValueError, match=f"is {found} times in 'a.c'"):
        mutant.plant(source, tmp_path / "copy")
