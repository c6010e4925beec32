# SPDX-License-Identifier: Apache-2.0
"""Attacks on the chain: a client that crafts packets, one that owns its namespace, the pod's own root."""
