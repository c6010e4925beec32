# SPDX-License-Identifier: Apache-2.0
"""The Python mirror of ``bpf/lib/abi.h``: limits, enumerators, layouts.

Nothing else crosses between user space and kernel. ``tests/test_abi.py``
compiles the header with the host's C compiler and compares every value, size
and offset with this file.
"""

import struct
from collections.abc import Mapping
from enum import IntEnum, IntFlag
from ipaddress import IPv4Address, IPv6Address

ABI_VERSION = 5

MAX_ENDPOINTS = 256
MAX_FLOWS = 65536
MAX_EMBRYOS = 65536
MAX_ENDED = 131072
MAX_REPLIES = 65536
MAX_PEERS = 65536
MAX_PORT_POLICIES = 262144
MAX_RULE_SETS = 1024
TABLE_WORDS = 4194304
MAX_HEAD_BYTES = 61440
MAX_HEADER_LINES = 100
MAX_CANDIDATES = 16
MAX_CONTENT_LENGTH = 2**53
INLINE_COPY = 1024
LARGE_COPY = 65536
COPY_SLACK = 8
LOG_INLINE = 8
CHUNK_DIGITS_MOST = 15
LARGE_SLOTS = 256
MEMO_SLOTS = 512
MEMO_BYTES = 512
PIECE = 2048
EVENT_BYTES = 512
EVENT_RING_BYTES = 1048576

IMAGE_MAGIC = 0x54465042
IMAGE_VERSION = 1
IMAGE_HEADER_WORDS = 16
ACTION_WORDS = 8
CLASS_MAP_WORDS = 64
TRANSITION_ACTION = 0x80000000
CANDIDATE_WORDS = 3


class ImageWord(IntEnum):
    """Index of each word of a table image's header; offsets are in words."""

    MAGIC = 0
    VERSION = 1
    SIZE = 2
    CHECKSUM = 3
    CLASSES = 4
    ROWS = 5
    STRIDE = 6
    STATES = 7
    START = 8
    ACTIONS = 9
    ACTION_COUNT = 10
    RULES = 11


class ActionWord(IntEnum):
    """Index of each word of an action record."""

    OPS = 0
    NEXT = 1
    CANDIDATES = 2
    SEEN_LO = 4
    SEEN_HI = 5
    SET_LO = 6
    SET_HI = 7


class ActionOp(IntFlag):
    """What an action does; the reason of a fault stands in bits 16 to 31."""

    FAULT = 1
    REQUEST_LINE = 2
    HEADER_LINE = 4
    DIGIT = 8
    HEAD_END = 16
    HEAD_METHOD = 32
    CLOSE = 64
    EXPECT = 128
    CHUNKED = 256


class SeenBit(IntEnum):
    """Bit numbers of ``seen``: each may come once in a head."""

    HOST = 0
    CONTENT_LENGTH = 1
    EXPECT = 2
    TRANSFER_ENCODING = 3
    ASKED = 4


class Reason(IntEnum):
    """Why a request, a packet or a connection got what it got."""

    NONE = 0
    RULE = 1
    NO_RULE = 2
    L4_DENIED = 3
    BAD_METHOD = 4
    CONNECT_METHOD = 5
    BAD_TARGET = 6
    BAD_PATH = 7
    BAD_VERSION = 8
    HTTP2_PREFACE = 9
    BAD_LINE_END = 10
    BAD_HEADER_NAME = 11
    BAD_HEADER_VALUE = 12
    FOLDED_HEADER = 13
    BAD_HOST = 14
    MISSING_HOST = 15
    REPEATED_HEADER = 16
    BAD_CONTENT_LENGTH = 17
    BAD_TRANSFER_ENCODING = 18
    BAD_CHUNK = 19
    BAD_EXPECT = 20
    UPGRADE = 21
    HEAD_TOO_LARGE = 22
    TOO_MANY_HEADERS = 23
    FIN_IN_HEAD = 24
    AFTER_CLOSE = 25
    AFTER_SERVER_FIN = 26
    AFTER_CLIENT_FIN = 27
    AFTER_ANSWER = 28
    EARLY_ANSWER = 29
    UNPLACEABLE = 30
    FUTURE_SEGMENT = 31
    OLD_SEGMENT = 32
    CHANGED_SEGMENT = 33
    UNPROVED_SEGMENT = 34
    UNSEEN_BYTES = 35
    BAD_NUMBERS = 36
    ODD_FLAGS = 37
    SYN_DATA = 38
    NO_FLOW = 39
    FLOW_BUSY = 40
    FLOWS_FULL = 41
    COPY_FULL = 42
    TOO_MANY_REQUESTS = 43
    STALE_TABLE = 44
    AWAITS_ANSWER = 45
    FRAGMENT = 46
    IP_OPTIONS = 47
    VLAN_DEPTH = 48
    BAD_PACKET = 49
    IPV6_EXTENSION = 50
    NO_MARK = 51
    MISSED_TAIL_CALL = 52
    INTERNAL = 53
    CHUNK_TRAILER = 54
    MAX = 55


class Verdict(IntEnum):
    """What became of a request."""

    ALLOW = 0
    DENY = 1


REASONS: tuple[Reason, ...] = tuple(reason for reason in Reason if reason is not Reason.MAX)


class Count(IntEnum):
    """What is counted beside the reasons."""

    REQUESTS_ALLOWED = 0
    REQUESTS_DENIED = 1
    FLOWS_BORN = 2
    FLOWS_ENDED = 3
    ANSWERS = 4
    SERVER_RESETS = 5
    CLIENT_RESETS = 6
    EVENTS_LOST = 7
    RESETS_WITHHELD = 8
    PROVED = 9
    RESPONSES_OTHER = 10
    RESPONSES_1XX = 11
    RESPONSES_2XX = 12
    RESPONSES_3XX = 13
    RESPONSES_4XX = 14
    RESPONSES_5XX = 15
    MAX = 16


class Slot(IntEnum):
    """Slots of the chain's prog-arrays."""

    FLOW = 0
    PROVE = 1
    HEADER = 2
    HTTP = 3
    VERDICT = 4
    CHUNK = 5
    RECALL = 6
    MAX = 7


class MapNumber(IntEnum):
    """Numbers that stand for map descriptors in the text."""

    ENDPOINTS = 0x6200
    FLOWS = 0x6201
    EMBRYOS = 0x6202
    ENDED = 0x6203
    REPLIES = 0x6204
    PEERS = 0x6205
    PORT_POLICIES = 0x6206
    RULE_SETS = 0x6207
    TABLES = 0x6208
    CONTEXT = 0x6209
    FRESH = 0x620A
    COPIES = 0x620B
    COPIES_FREE = 0x620C
    EVENTS = 0x620D
    REASONS = 0x620E
    COUNTS = 0x620F
    RATES = 0x6210
    ANSWERS = 0x6211
    CHAIN = 0x6212
    CHAIN_TCX = 0x6213
    NEXT = 0x6214
    SWEEP = 0x6215
    MEMO = 0x6216


ENDPOINT_IMMEDIATE = 0x6E0D9017


class EndpointFlag(IntFlag):
    """Flags of ``struct endpoint``."""

    ENFORCED = 1
    TIMING = 2
    EGRESS = 4


class DenyMode(IntEnum):
    """What a denied request gets (``--deny``)."""

    REPLY = 0
    RESET = 1
    DROP = 2


class EventMode(IntEnum):
    """Which verdicts become events (``--events``)."""

    NONE = 0
    DENIED = 1
    ALL = 2


class Direction(IntEnum):
    """Whose side of a connection is policed: the server's (ingress) or the client's."""

    INGRESS = 0
    EGRESS = 1


class PortVerdict(IntEnum):
    """What a peer may do on a port."""

    DENY = 0
    ALLOW = 1
    INSPECT = 2


class FlowStage(IntEnum):
    """What a connection is to us."""

    OPEN = 0
    ANSWERED = 1
    DRAINED = 2
    KILLED = 3
    MUTE = 4


class Phase(IntEnum):
    """Where a request stands."""

    IDLE = 0
    HEAD = 1
    BODY = 2
    CLOSED = 3
    FRAMING = 4


IDENTITY_WORLD = 0
PEER_BITS_ALWAYS = 32
PEER_BITS = 160
PORT_KEY_BITS_ALWAYS = 64
PORT_KEY_BITS = 88
FLOW_PHASE_OFFSET = 223
RULE_NONE = 0xFFFFFFFF
ADDRESS_BYTES = 16
CONTEXT_BYTES = 2424
EVENTS_A_SECOND = 2000
RESETS_A_SECOND = 1000
ANSWER_BYTES = 128
ANSWER_COUNT = 2

SIZES: Mapping[str, int] = {
    "endpoint": 8224,
    "peer_key": 24,
    "port_key": 16,
    "port_policy": 8,
    "rule_set": 24,
    "memo": 536,
    "flow_key": 40,
    "embryo": 8,
    "ended": 24,
    "reply_key": 28,
    "head": 48,
    "flow": 1536,
    "event": 576,
    "response": 48,
    "sweep": 48,
    "rate": 16,
    "answer": 132,
}
"""sizeof of every struct that crosses, in bytes."""

_HEAD_403 = (
    b"HTTP/1.1 403 Forbidden\r\ncontent-length: 15\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n"
)
ANSWERS: tuple[bytes, bytes] = (_HEAD_403 + b"Access denied\r\n", _HEAD_403)
"""The answer to a denied request, and the one to HEAD (design: Envoy's status, body and type)."""


def pack_answer(text: bytes) -> bytes:
    """Return ``struct answer``: the length and the text, padded with zeros."""
    return struct.pack(f"=I{ANSWER_BYTES}s", len(text), text)


def pack_address(address: IPv4Address | IPv6Address) -> bytes:
    """Return ``struct address``: 16 bytes, IPv4 as ::ffff:a.b.c.d."""
    if isinstance(address, IPv4Address):
        return b"\0" * 10 + b"\xff\xff" + address.packed
    return address.packed


def unpack_address(raw: bytes) -> IPv4Address | IPv6Address:
    """Return the address in ``struct address``."""
    address = IPv6Address(raw)
    return address.ipv4_mapped or address
