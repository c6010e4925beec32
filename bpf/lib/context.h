/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * All that the stages of the chain hand to each other, one value a CPU.
 *
 * Nothing else crosses a tail call. Cursors live here rather than in
 * registers: with them in memory the verifier sees one state where it would
 * see thousands.
 */
#ifndef BPFAST_LIB_CONTEXT_H
#define BPFAST_LIB_CONTEXT_H

#include "chunk.h"
#include "packet.h"
#include "walk.h"

/* What VERDICT is asked to do. */
enum outcome {
	OUTCOME_DROP = 0,     /* drop and count the reason */
	OUTCOME_DENY,         /* a request is denied: the --deny mode decides */
	OUTCOME_RESET,        /* reset both sides */
	OUTCOME_RESET_SENDER, /* no flow: a reset with the sender's own number */
	OUTCOME_CUT,          /* passes up to the cursor, the rest comes again */
	OUTCOME_BARE_ACK,     /* goes on without payload, one number below */
	OUTCOME_STAND_IN,     /* the flow is answered, drained or killed */
	OUTCOME_ACKNOWLEDGE,  /* an ended, answered connection: ACK the FIN */
};

struct context {
	struct flow_key key;  /* ENTRY -> all */
	struct packet packet; /* ENTRY -> all */
	u64 began;            /* ENTRY -> events; 0 without timing */
	u64 mark;             /* ENTRY -> pass() */
	u64 asked_time;  /* events -> await_answer(): when the first request passed; 0: untold */
	u32 asked_at;    /* and where it stands in the client's stream */
	u32 endpoint;    /* ENTRY -> all */
	u32 event_mode;  /* ENTRY -> HTTP, VERDICT */
	u32 deny_mode;   /* ENTRY -> VERDICT */
	u32 generation;  /* ENTRY -> FLOW, HEADER */
	u32 policy;      /* ENTRY -> HEADER */
	u32 direction;   /* ENTRY -> HEADER, events */
	u32 holds_claim; /* FLOW -> release() */
	u32 revised;     /* HEADER -> FLOW: the header verdict is of today */
	u32 outcome;     /* any -> VERDICT */
	u32 reason;      /* any -> VERDICT */
	u32 rule;        /* HTTP -> events */
	u32 begun;       /* HTTP: what it changes has been loaded */
	u32 changed;     /* HTTP -> commit(): the head has moved */
	u32 runs;        /* HTTP, PROVE: how often they have called themselves */
	u32 requests_before; /* FLOW: head.requests when the packet came */
	u32 position;        /* FLOW, PROVE, HTTP: next payload byte to inspect */
	u32 prove_to;        /* FLOW -> PROVE: payload offset that ends the proof */
	u32 acked, sent;     /* FLOW: the server's numbers when the packet came */
	u32 log_at;          /* RECALL: next record of framing to compare */
	/* What HTTP changes; written to the flow only when the packet passes. */
	struct head head;
	u32 copy_base, copy_end;
	u32 kept_end;              /* HTTP -> events: number behind the last byte kept */
	u32 copy_rest;             /* body bytes to copy before the next head */
	u32 log_next, log_end;     /* CHUNK, as copy_base */
	struct walk_note note;     /* HTTP: what the walk leaves behind */
	u32 option;                /* VERDICT, HEADER: cursor over TCP options */
	u32 option_blank, blanked; /* HEADER: Multipath TCP taken off a SYN */
	u32 whole;                 /* HTTP: a head begins at the segment's first byte */
	u32 base;                  /* HTTP: its table */
	u8 piece[PIECE];           /* HTTP, PROVE: payload bytes under the cursor */
};

#endif /* BPFAST_LIB_CONTEXT_H */
