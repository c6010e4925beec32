# SPDX-License-Identifier: Apache-2.0
"""Tests of ``bpfast.tables``: cases, limits, the packed image and its walker."""
