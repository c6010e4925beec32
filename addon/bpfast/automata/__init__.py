# SPDX-License-Identifier: Apache-2.0
"""Finite automata over bytes: a library that knows nothing of HTTP or policy.

The files are the pipeline: ``syntax`` (RE2 text to a ``tree``), ``nfa``
(Thompson, with ``literals`` as a trie), ``classes`` (bytes that no pattern
tells apart), ``determinize``, ``minimize``, ``dfa`` (the result and the
reference search), ``show``.
"""
