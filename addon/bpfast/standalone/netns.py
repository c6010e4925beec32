# SPDX-License-Identifier: Apache-2.0
"""How the endpoints file names a network namespace: ``NAME``, ``PATH`` or ``pid:N``."""

import re
from dataclasses import dataclass
from typing import Final

from bpfast.policy.document import shown

NAMED: Final = "/run/netns"
"""Where ``ip netns add`` puts its names."""

_PID: Final = re.compile(r"pid:([1-9][0-9]{0,9})")
_NAME: Final = re.compile(r"[^/\0\s:]{1,255}")
_FORMS: Final = "a name as in 'ip netns', a path from '/', or pid:N"


@dataclass(frozen=True, slots=True)
class NetNs:
    """A network namespace: as the user named it, and the file to open for it."""

    text: str
    path: str

    def __str__(self) -> str:
        """Return what the user wrote."""
        return self.text


def parse_netns(text: str) -> NetNs:
    """Return the namespace that ``text`` names; raise ValueError if it has none of the three forms."""
    pid = _PID.fullmatch(text)
    if pid is not None:
        return NetNs(text, f"/proc/{pid[1]}/ns/net")
    if text.startswith("/") and "\0" not in text and not text.endswith("/"):
        return NetNs(text, text)
    if _NAME.fullmatch(text) and text not in (".", ".."):
        return NetNs(text, f"{NAMED}/{text}")
    raise ValueError(f"{shown(text)} is not a network namespace; valid: {_FORMS}")
