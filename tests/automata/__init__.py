# SPDX-License-Identifier: Apache-2.0
"""Tests of ``bpfast.automata``, most of them judged by google-re2."""
