# SPDX-License-Identifier: Apache-2.0
"""Tests of ``bpfast.model``: truths from the texts, other readers of the same patterns, and the kernel."""
