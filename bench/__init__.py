# SPDX-License-Identifier: Apache-2.0
"""Benchmarks: figures are ratios inside one run; nothing here asserts a time."""
