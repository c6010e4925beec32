# SPDX-License-Identifier: Apache-2.0
"""Where policy meets automata: a rule set becomes words that the kernel walks.

``http1`` is the grammar of a request head, ``constraints`` numbers what rules
ask of header lines, ``request_line`` and ``header_lines`` multiply grammar and
rules into one ``machine``, ``build`` drives them and refuses rules, ``pack``
writes words, ``image`` reads and checks them, ``walk`` is the reference of the
kernel's walker.
"""
