# SPDX-License-Identifier: Apache-2.0
"""``python -m bpfast``: the same as the command ``bpfast``."""

from bpfast.cli import main

if __name__ == "__main__":
    main()
