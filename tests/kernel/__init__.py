# SPDX-License-Identifier: Apache-2.0
"""The real kernel programs, packet by packet (BPF_PROG_TEST_RUN); needs root."""
