# SPDX-License-Identifier: Apache-2.0
"""The seam to the kernel: compile, load, attach, maps, events. bcc lives here only."""
