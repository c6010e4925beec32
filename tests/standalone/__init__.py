# SPDX-License-Identifier: Apache-2.0
"""Tests of the endpoints file and of opening files."""
