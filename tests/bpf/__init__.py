# SPDX-License-Identifier: Apache-2.0
"""Tests of the kernel's text that need no kernel: the pure headers built for the host."""
