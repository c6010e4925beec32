# SPDX-License-Identifier: Apache-2.0
"""Tests of ``bpfast verdict``: its input, its engines, its answers."""
