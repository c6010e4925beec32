# SPDX-License-Identifier: Apache-2.0
"""The loop: read, compile, load, report. The only package that sees all stages."""
