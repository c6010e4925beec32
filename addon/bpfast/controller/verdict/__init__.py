# SPDX-License-Identifier: Apache-2.0
"""``bpfast verdict``: what would become of these bytes, by the kernel's programs or by the model."""
