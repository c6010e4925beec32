# SPDX-License-Identifier: Apache-2.0
"""CiliumNetworkPolicies, read and lowered to rules. Pure."""
