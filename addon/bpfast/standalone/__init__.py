# SPDX-License-Identifier: Apache-2.0
"""Pods named by a file instead of by Kubernetes."""
