# SPDX-License-Identifier: Apache-2.0
"""BPFast: layer-7 policy of CiliumNetworkPolicies, enforced in the kernel."""

__version__ = "0.1.0"
__all__ = ["__version__"]
