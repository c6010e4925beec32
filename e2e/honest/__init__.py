# SPDX-License-Identifier: Apache-2.0
"""Honest traffic end to end: clients and servers of many makes, and what must not trouble them."""

import pytest

# A failed assertion shows its values there, too.
pytest.register_assert_rewrite("e2e.honest.ground", "e2e.clients.order")
