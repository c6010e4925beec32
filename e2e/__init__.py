# SPDX-License-Identifier: Apache-2.0
"""Real servers, real clients, real namespaces."""
