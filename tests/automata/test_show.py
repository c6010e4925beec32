# SPDX-License-Identifier: Apache-2.0
"""A machine can print itself."""

from bpfast.automata.minimize import minimize
from bpfast.automata.show import dot, table
from tests.automata.machines import dfa_of

TABLE = """\
5 states (0 is dead), 4 classes
>      1          / -> 2
       2          a -> 3
 *     3 0        a -> 3  x-z -> 4
 *     4 0,1
"""

DOT = r"""digraph dfa {
  rankdir=LR;
  start [shape=point]; start -> "1";
  "1" [shape=circle, label="1"];
  "1" -> "2" [label="\""];
  "2" [shape=circle, label="2"];
  "2" -> "3" [label="\\x0a\\"];
  "3" [shape=doublecircle, label="3\n0"];
}
"""


def test_table() -> None:
    """The table has the start, the matches with their patterns, and edges as ranges of bytes."""
    assert TABLE == table(minimize(dfa_of(["/a+[x-z]?", "/a+[x-z]"])))


def test_dot() -> None:
    """The graph has quotes and backslashes escaped, so that Graphviz reads it."""
    assert DOT == dot(minimize(dfa_of(['"[\\n\\\\]'])))
