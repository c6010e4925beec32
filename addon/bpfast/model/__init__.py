# SPDX-License-Identifier: Apache-2.0
"""The reference: what HTTP and the policies mean, read from the texts once more, for slow and simple code.

``verdict --engine model`` and the differential tests hold the kernel against it.
It is worth something only as a second reading, so it knows neither ``automata``
nor ``tables`` nor ``policy.lower``.
"""
