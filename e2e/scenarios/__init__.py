# SPDX-License-Identifier: Apache-2.0
"""Scenarios for the policy language: written ones, random ones, and Cilium's own engine as their judge."""
