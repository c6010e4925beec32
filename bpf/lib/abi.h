/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the kernel programs and user space both know.
 *
 * addon/bpfast/abi.py is the one mirror of this file; tests/test_abi.py
 * compiles this header and compares every size, offset, constant and
 * enumerator. Plain C: no includes, no bcc syntax. Integers are in host byte
 * order unless a comment says "network order".
 */
#ifndef BPFAST_LIB_ABI_H
#define BPFAST_LIB_ABI_H

#define ABI_VERSION 5 /* of everything pinned; another version starts afresh */

/* ---- limits --------------------------------------------------------------- */

#define MAX_ENDPOINTS 256
#define MAX_FLOWS 65536
#define MAX_EMBRYOS 65536
#define MAX_ENDED 131072
#define MAX_REPLIES 65536
#define MAX_PEERS 65536
#define MAX_PORT_POLICIES 262144
#define MAX_RULE_SETS 1024
#define TABLE_WORDS 4194304                    /* u32 words of all table images together */
#define MAX_HEAD_BYTES 61440                   /* Envoy: 61,440 passes, 61,441 is 431 */
#define MAX_HEADER_LINES 100                   /* Envoy: 100 pass, 101 are 431 */
#define MAX_CANDIDATES 16                      /* rules that one request line can leave open */
#define MAX_CONTENT_LENGTH 9007199254740992ULL /* 2^53 */
#define INLINE_COPY 1024                       /* head bytes kept in the flow itself */
#define LARGE_COPY 65536                       /* bytes in one slot of the shared pool */
#define COPY_SLACK 8                           /* behind each: copies are written in words */
#define LOG_INLINE 8         /* records of chunk framing kept in the flow itself */
#define CHUNK_DIGITS_MOST 15 /* of a chunk's size; Envoy: 16 */
#define LARGE_SLOTS 256      /* slots in the pool: 16 MiB */
#define MEMO_SLOTS 512       /* heads remembered, each CPU: 264 KiB */
#define MEMO_BYTES 512       /* of the longest */
#define PIECE 2048           /* bytes that one run of a stage looks at */
#define EVENT_BYTES 512      /* head bytes that an event carries */
#define EVENT_RING_BYTES 1048576

/* ---- table image: words of a compiled rule set ------------------------------ */

#define IMAGE_MAGIC 0x54465042 /* "BPFT" in memory order */
#define IMAGE_VERSION 1
#define IMAGE_HEADER_WORDS 16
#define ACTION_WORDS 8
#define CLASS_MAP_WORDS 64            /* 256 bytes: byte -> class */
#define TRANSITION_ACTION 0x80000000U /* a transition that is an action */

/* Words of the image header; offsets are in words from the image's start. */
enum image_word {
	IMAGE_WORD_MAGIC = 0,
	IMAGE_WORD_VERSION = 1,
	IMAGE_WORD_SIZE = 2,     /* words, header included */
	IMAGE_WORD_CHECKSUM = 3, /* CRC-32 (zlib) of all bytes, this word 0 */
	IMAGE_WORD_CLASSES = 4,  /* offset of the class map */
	IMAGE_WORD_ROWS = 5,     /* offset of the transition rows */
	IMAGE_WORD_STRIDE = 6,   /* words a row */
	IMAGE_WORD_STATES = 7,   /* number of rows */
	IMAGE_WORD_START = 8,    /* pre-multiplied state before a request line */
	IMAGE_WORD_ACTIONS = 9,  /* offset of the action records */
	IMAGE_WORD_ACTION_COUNT = 10,
	IMAGE_WORD_RULES = 11, /* number of rules; rule ids are below it */
};

/*
 * An action record, ACTION_WORDS words at a multiple of as many from the
 * image's start; images too start at such multiples. A transition word with
 * TRANSITION_ACTION set holds the record's offset in words in its other bits.
 */
struct action {
	unsigned int ops;        /* enum action_op, reason in bits 16..31 */
	unsigned int next;       /* pre-multiplied state to go on with */
	unsigned int candidates; /* offset of a candidate list, 0 = none */
	unsigned int reserved;
	unsigned long long seen; /* names that this line is of */
	unsigned long long set;  /* constraints that it fulfils */
};

/* What an action does, in this order. */
enum action_op {
	OP_FAULT = 1,        /* deny with the reason */
	OP_REQUEST_LINE = 2, /* the line has ended: take the candidates */
	OP_HEADER_LINE = 4,  /* a header line has ended: count it, seen, set */
	OP_DIGIT = 8,        /* the byte is a digit of Content-Length */
	OP_HEAD_END = 16,    /* the empty line: decide */
	OP_HEAD_METHOD = 32, /* the method is HEAD: an answer has no body */
	OP_CLOSE = 64,       /* Connection: close */
	OP_EXPECT = 128,     /* Expect: 100-continue */
	OP_CHUNKED = 256,    /* Transfer-Encoding: chunked */
};

/*
 * Bits of `seen`. Each may be set once in a head, else the reason in the
 * comment. Bits from SEEN_ASKED on are names that a rule asks for
 * (repeated_header).
 */
enum seen_bit {
	SEEN_HOST = 0,              /* bad_host */
	SEEN_CONTENT_LENGTH = 1,    /* bad_content_length */
	SEEN_EXPECT = 2,            /* bad_expect */
	SEEN_TRANSFER_ENCODING = 3, /* bad_transfer_encoding */
	SEEN_ASKED = 4,
};

/*
 * A candidate list: the number of entries, then CANDIDATE_WORDS each, in file
 * order: rule id, the constraint bits that it needs (low, high word). The
 * first whose bits are all set decides; an entry that needs none is the last.
 */
#define CANDIDATE_WORDS 3

/* ---- reasons and verdicts ---------------------------------------------------- */

/* Why a request, a packet or a connection got what it got. Add at the end. */
enum reason {
	REASON_NONE = 0,
	REASON_RULE, /* allowed by the rule named */
	/* the policy */
	REASON_NO_RULE,   /* no rule matches the request */
	REASON_L4_DENIED, /* peer or port is not allowed at all */
	/* the request line */
	REASON_BAD_METHOD,
	REASON_CONNECT_METHOD,
	REASON_BAD_TARGET,
	REASON_BAD_PATH, /* not in canonical form */
	REASON_BAD_VERSION,
	REASON_HTTP2_PREFACE,
	REASON_BAD_LINE_END, /* bare CR or LF */
	/* header lines */
	REASON_BAD_HEADER_NAME,
	REASON_BAD_HEADER_VALUE,
	REASON_FOLDED_HEADER,
	REASON_BAD_HOST,
	REASON_MISSING_HOST,
	REASON_REPEATED_HEADER,
	REASON_BAD_CONTENT_LENGTH,
	REASON_BAD_TRANSFER_ENCODING,
	REASON_BAD_CHUNK, /* the framing of a chunked body */
	REASON_BAD_EXPECT,
	REASON_UPGRADE,
	REASON_HEAD_TOO_LARGE,
	REASON_TOO_MANY_HEADERS,
	/* the stream */
	REASON_FIN_IN_HEAD,
	REASON_AFTER_CLOSE,      /* payload after Connection: close */
	REASON_AFTER_SERVER_FIN, /* payload after the server's FIN */
	REASON_AFTER_CLIENT_FIN,
	REASON_AFTER_ANSWER, /* payload after our 403 */
	REASON_EARLY_ANSWER, /* final status before the body's end */
	REASON_UNPLACEABLE,  /* a denial that cannot be answered: reset */
	REASON_FUTURE_SEGMENT,
	REASON_OLD_SEGMENT,      /* wholly acknowledged: goes on as a bare ACK */
	REASON_CHANGED_SEGMENT,  /* a retransmission with other bytes */
	REASON_UNPROVED_SEGMENT, /* no copy to compare with: wait for the server */
	REASON_UNSEEN_BYTES,     /* the server acknowledged what we did not pass */
	REASON_BAD_NUMBERS,      /* sequence or acknowledgement out of place */
	REASON_ODD_FLAGS,
	REASON_SYN_DATA,
	REASON_NO_FLOW,
	REASON_FLOW_BUSY,
	REASON_FLOWS_FULL,
	REASON_COPY_FULL,         /* the pool of head copies is empty */
	REASON_TOO_MANY_REQUESTS, /* more in one packet than one run can take */
	REASON_STALE_TABLE,       /* the rule set went away inside a request */
	REASON_AWAITS_ANSWER,     /* a body behind an unanswered request: comes again */
	/* the packet */
	REASON_FRAGMENT,
	REASON_IP_OPTIONS,
	REASON_VLAN_DEPTH,
	REASON_BAD_PACKET,     /* truncated, or lengths that disagree */
	REASON_IPV6_EXTENSION, /* a header of IPv6 behind which TCP may hide */
	REASON_NO_MARK,        /* has not been through the chain (guard) */
	/* ourselves */
	REASON_MISSED_TAIL_CALL,
	REASON_INTERNAL, /* a map that must exist does not */
	/* added */
	REASON_CHUNK_TRAILER, /* header lines behind the last chunk */
	REASON_MAX,
};

enum verdict {
	VERDICT_ALLOW = 0,
	VERDICT_DENY = 1,
};

/* What is counted beside the reasons. Add at the end. */
enum count {
	COUNT_REQUESTS_ALLOWED = 0,
	COUNT_REQUESTS_DENIED,
	COUNT_FLOWS_BORN,
	COUNT_FLOWS_ENDED,
	COUNT_ANSWERS,       /* 403s that left */
	COUNT_SERVER_RESETS, /* resets sent to the server's side */
	COUNT_CLIENT_RESETS,
	COUNT_EVENTS_LOST,     /* ring full, or over the rate */
	COUNT_RESETS_WITHHELD, /* over the rate */
	COUNT_PROVED,          /* retransmissions found equal */
	/* Answers whose beginning was seen, in the order of their classes; with EVENTS_ALL only. */
	COUNT_RESPONSES_OTHER, /* another number, or one that came in pieces */
	COUNT_RESPONSES_1XX,
	COUNT_RESPONSES_2XX,
	COUNT_RESPONSES_3XX,
	COUNT_RESPONSES_4XX,
	COUNT_RESPONSES_5XX,
	COUNT_MAX,
};

/* ---- programs ------------------------------------------------------------------ */

/*
 * Slots of the chain's prog-arrays, one of XDP and one of tcx programs. Add at the
 * end. ENTRY, GUARD and WATCH are attached, one of each an endpoint; they are not
 * in the arrays.
 */
enum slot {
	SLOT_FLOW = 0,
	SLOT_PROVE,
	SLOT_HEADER,
	SLOT_HTTP,
	SLOT_VERDICT,
	SLOT_CHUNK,
	SLOT_RECALL,
	SLOT_MAX,
};

/*
 * Numbers that stand for map file descriptors in the text. The loader puts the
 * real descriptor into each load instruction, so that one compiled text serves
 * any set of maps.
 */
enum map_number {
	MAP_ENDPOINTS = 0x6200,
	MAP_FLOWS,
	MAP_EMBRYOS,
	MAP_ENDED,
	MAP_REPLIES,
	MAP_PEERS,
	MAP_PORT_POLICIES,
	MAP_RULE_SETS,
	MAP_TABLES,
	MAP_CONTEXT,
	MAP_FRESH,
	MAP_COPIES,
	MAP_COPIES_FREE,
	MAP_EVENTS,
	MAP_REASONS,
	MAP_COUNTS,
	MAP_RATES,
	MAP_ANSWERS,
	MAP_CHAIN,
	MAP_CHAIN_TCX,
	MAP_NEXT,
	MAP_SWEEP,
	MAP_MEMO,
};

/* The immediate that the loader replaces by the endpoint's number. */
#define ENDPOINT_IMMEDIATE 0x6e0d9017

/* ---- values of the maps ------------------------------------------------------------ */

/* endpoints: number -> how this endpoint is policed. Written by user space. */
enum endpoint_flag {
	ENDPOINT_ENFORCED = 1, /* else everything passes */
	ENDPOINT_TIMING = 2,   /* events carry nanoseconds */
	ENDPOINT_EGRESS = 4,   /* what it sends is policed: the peer is the server */
};

enum deny_mode {
	DENY_REPLY = 0,
	DENY_RESET = 1,
	DENY_DROP = 2,
};

enum event_mode {
	EVENTS_NONE = 0,
	EVENTS_DENIED = 1,
	EVENTS_ALL = 2,
};

/* generation and mark stay where they are in every version: a takeover reads them. */
struct endpoint {
	unsigned int flags;
	unsigned int generation; /* of policy and peers; never 0 */
	unsigned int deny_mode;
	unsigned int event_mode;
	unsigned int policy; /* the number its port policies are under */
	unsigned int reserved;
	unsigned long long mark;       /* what the chain leaves for the guard */
	unsigned char inspected[8192]; /* bit n: some peer's port n is inspected */
};

struct address {
	unsigned char bytes[16]; /* IPv4 as ::ffff:a.b.c.d */
};

/*
 * peers: longest prefix of an address -> identity. Absent is IDENTITY_WORLD. The
 * family always counts, so that no network of IPv6 means an address of IPv4.
 */
#define IDENTITY_WORLD 0
#define PEER_BITS_ALWAYS 32
#define PEER_BITS 160
struct peer_key {
	unsigned int bits;   /* that count, of those behind this word */
	unsigned int family; /* 4 or 6 */
	struct address address;
};

/*
 * port_policies: what a peer may do; the longest prefix decides. Policy and
 * identity always count; nothing else: all that has no longer one; a protocol:
 * all its ports; and so on to a single port. Absent is PORT_DENY.
 */
#define PORT_KEY_BITS_ALWAYS 64
#define PORT_KEY_BITS 88
struct port_key {
	unsigned int bits;   /* that count, of those behind this word */
	unsigned int policy; /* struct endpoint: another after each change */
	unsigned int identity;
	unsigned char protocol; /* of IP */
	unsigned char port[2];  /* network order; the type of ICMP, 0 where there is none */
	unsigned char reserved; /* 0 */
};

enum port_verdict {
	PORT_DENY = 0,
	PORT_ALLOW = 1,
	PORT_INSPECT = 2,
};

struct port_policy {
	unsigned int verdict;
	unsigned int rule_set; /* index into rule_sets */
};

/*
 * rule_sets: where the table of a rule set lies. serial 0: unused. The second
 * word and the last stay where they are in every version: a takeover reads them.
 */
struct rule_set {
	unsigned int base;    /* first word of the image in tables */
	unsigned int serial;  /* another after each change */
	unsigned int rows;    /* absolute word offset */
	unsigned int classes; /* absolute byte offset */
	unsigned int start;
	unsigned int retired; /* where there is none: serials up to here are used up */
};

/* memo: whole heads that a table has allowed, one behind the other. */
struct memo {
	unsigned int serial; /* of its rule set, never given twice; 0: empty */
	unsigned int bytes;
	unsigned int heads;
	unsigned int reserved;
	unsigned char text[520]; /* MEMO_BYTES + COPY_SLACK */
};

/* flows, embryos, ended: one TCP connection as its endpoint sees it. */
struct flow_key {
	unsigned int endpoint;
	unsigned short peer_port; /* network order */
	unsigned short port;      /* network order */
	struct address peer;
	struct address local;
};

/* embryos: a SYN-ACK that the watcher saw. */
struct embryo {
	unsigned int client; /* the client's first byte: its number + 1 */
	unsigned int server; /* the server's first byte: its number + 1 */
};

/* ended: what may still come on a connection that is over. */
struct ended {
	unsigned int client;   /* behind the client's FIN */
	unsigned int server;   /* behind the server's FIN */
	unsigned int answered; /* 1: we stand in for the server */
	unsigned int reserved;
	unsigned long long until; /* CLOCK_MONOTONIC, ns */
};

/* replies: connections that the pod itself began; key only. */
struct reply_key {
	unsigned int endpoint;
	unsigned short peer_port; /* network order */
	unsigned short port;      /* network order */
	unsigned int protocol;
	struct address peer;
};

/* Where a request stands. */
enum phase {
	PHASE_IDLE = 0, /* between requests */
	PHASE_HEAD = 1,
	PHASE_BODY = 2,
	PHASE_CLOSED = 3,  /* after a request with Connection: close */
	PHASE_FRAMING = 4, /* between the chunks of a body; their data is PHASE_BODY */
};

enum head_flag {
	HEAD_IS_HEAD = 1, /* the method is HEAD */
	HEAD_CLOSE = 2,
	HEAD_EXPECT = 4,
	HEAD_CHUNKED = 8,
	/* of a flow that we have closed */
	HEAD_BARE = 16,     /* a FIN without a text */
	HEAD_FINISHED = 32, /* the client's FIN has come, too */
};

struct head {
	unsigned long long seen;   /* names that have come */
	unsigned long long set;    /* constraints that hold */
	unsigned long long length; /* Content-Length; in the body: bytes left */
	unsigned int state;        /* pre-multiplied */
	unsigned int candidates;   /* offset in the image; 0 before the line's end */
	unsigned int start;        /* sequence number of the head's first byte */
	unsigned int requests;     /* allowed so far on this connection */
	unsigned int serial;       /* of the rule set; checked inside a request */
	unsigned short lines;
	unsigned char flags;
	unsigned char phase;
};

/* What the connection is to us. */
enum flow_stage {
	FLOW_OPEN = 0,
	FLOW_ANSWERED = 1, /* we stand in for the server */
	FLOW_DRAINED = 2,  /* payload is acknowledged and thrown away */
	FLOW_KILLED = 3,   /* both sides are being reset */
	FLOW_MUTE = 4,     /* --deny drop: nothing passes any more */
};

enum server_flag {
	SERVER_FIN = 1,
	SERVER_RST = 2,
	SERVER_EARLY = 4,  /* a final status before the body's end */
	SERVER_REBORN = 8, /* a SYN-ACK of another incarnation was seen */
};

struct flow {
	unsigned long long claim; /* 1: one CPU is inside */
	/* Written by the watcher only: the tag in the high half, so that a write
	 * to memory that has become another flow fails. */
	unsigned long long acked;       /* the server's acknowledgement */
	unsigned long long sent;        /* behind the last byte that the server sent */
	unsigned long long server;      /* enum server_flag */
	unsigned long long server_time; /* of its last packet after a FIN or an early answer */
	/* Written by both: where the next answer begins (lib/answer.h). */
	unsigned long long due;
	/* Written by the claim's holder only. */
	struct flow_key key;
	unsigned int expected;     /* next byte to inspect */
	unsigned int client_acked; /* the client's acknowledgement */
	unsigned int client_fin;   /* 1: the client's FIN, at expected, has passed */
	unsigned int generation;   /* of the header verdict */
	unsigned int rule_set;
	unsigned int stage;
	unsigned int answer;      /* first byte of our answer */
	unsigned int answer_end;  /* behind what we have acknowledged for the server */
	unsigned int resets;      /* sent to the server */
	unsigned int sent_before; /* `sent` when the last request ended */
	unsigned int copy_base;   /* number of the first byte in the copy */
	unsigned int copy_end;
	unsigned int large;            /* slot of the pool + 1; 0: none */
	unsigned int client_start;     /* the client's first byte */
	unsigned int tag;              /* names the incarnation: the server's number + 1 */
	unsigned int blind;            /* 1: no answer behind the one that is due is told */
	unsigned long long asked_time; /* when the request passed whose answer is due */
	unsigned int asked_at;         /* where its head begins in the client's stream */
	unsigned int furthest;         /* behind the last byte that has passed, in order or not */
	unsigned long long stage_time; /* when stage changed; drained: the client's last packet */
	struct head head;
	unsigned char copy[1032]; /* INLINE_COPY + COPY_SLACK */
	unsigned int log_first;   /* oldest record of chunk framing */
	unsigned int log_next;
	unsigned int log_end;   /* number behind the last byte in it */
	unsigned int log_slot;  /* slot of the pool + 1; 0: none */
	unsigned char log[264]; /* LOG_INLINE records and COPY_SLACK */
};

#define FLOW_PHASE_OFFSET 223 /* of head.phase, for who reads a flow from outside */
_Static_assert(__builtin_offsetof(struct flow, head.phase) == FLOW_PHASE_OFFSET, "moved");

/* Whose side of the connection is policed. */
enum direction {
	DIRECTION_INGRESS = 0, /* the server's: the peer is the client */
	DIRECTION_EGRESS = 1,  /* the client's: the peer is the server */
};

/* events: a ring of these. Ports are the connection's, the client's is peer_port. */
struct event {
	unsigned long long time;        /* CLOCK_MONOTONIC, ns */
	unsigned long long nanoseconds; /* in the chain; 0 without timing */
	struct address peer;
	unsigned int endpoint;
	unsigned int rule_set;
	unsigned int serial;
	unsigned int rule;        /* RULE_NONE: none */
	unsigned int offset;      /* of the head in the client's stream */
	unsigned short peer_port; /* host order */
	unsigned short port;      /* host order */
	unsigned char verdict;
	unsigned char reason;
	unsigned short length;    /* bytes of the head that follow */
	unsigned int direction;   /* enum direction */
	unsigned char bytes[512]; /* EVENT_BYTES */
};
#define RULE_NONE 0xffffffffU

/* events, too, and told from the others by its size: an answer has begun. */
struct response {
	unsigned long long time;        /* CLOCK_MONOTONIC, ns: of its first byte */
	unsigned long long nanoseconds; /* since the chain let the request's head pass */
	struct address peer;
	unsigned int endpoint;
	unsigned int offset;      /* of the request's head in the client's stream */
	unsigned short peer_port; /* host order */
	unsigned short port;      /* host order */
	unsigned short status;    /* 0: it came in pieces */
	unsigned short direction; /* enum direction */
};
_Static_assert(sizeof(struct response) != sizeof(struct event), "told apart by their size");

/* sweep: a flow for bpfast_sweep to look at. */
struct sweep {
	struct flow_key key;
	unsigned int force;   /* 1: delete whatever its state */
	unsigned int deleted; /* the answer */
};

/* rates: token windows of one CPU. */
struct rate {
	unsigned long long since;
	unsigned int events;
	unsigned int resets;
};
#define RATE_WINDOW_NS 1000000000ULL
#define EVENTS_A_SECOND 2000 /* a CPU */
#define RESETS_A_SECOND 1000 /* a CPU */

/* answers: the texts of the 403, padded with zeros to ANSWER_BYTES. */
#define ANSWER_BYTES 128
enum answer_index {
	ANSWER_BODY = 0,
	ANSWER_NO_BODY = 1, /* to HEAD */
	ANSWER_COUNT = 2,
};
struct answer {
	unsigned int length;
	unsigned char text[128]; /* ANSWER_BYTES */
};

#define ENDED_NS 10000000000ULL /* 10 s after both FINs */
#define SERVER_FIN_NS 120000000000ULL
#define ANSWERED_NS 60000000000ULL

#endif /* BPFAST_LIB_ABI_H */
