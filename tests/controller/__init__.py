# SPDX-License-Identifier: Apache-2.0
"""Tests of the loop: read, compile, load, sweep, report."""
