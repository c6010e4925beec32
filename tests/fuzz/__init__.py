# SPDX-License-Identifier: Apache-2.0
"""Mutated documents for the reader: no crash, no hang, bounded memory."""
