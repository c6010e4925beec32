# SPDX-License-Identifier: Apache-2.0
"""Programs that ``e2e.checksums`` runs as servers."""
