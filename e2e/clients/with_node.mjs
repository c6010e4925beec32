// SPDX-License-Identifier: Apache-2.0
// The client in Node's http module.

import { createHash } from "node:crypto";
import { Agent, request } from "node:http";
import { readFileSync } from "node:fs";

const SECONDS = 30;
const PERIOD = 251;
const CHUNK = 10_000;

const [base, keep] = process.argv.slice(2);
const agent = new Agent({ keepAlive: keep === "keep", maxSockets: 1 });

function sendBody(sending, size) {
	const body = Buffer.alloc(size, Uint8Array.from({ length: PERIOD }, (_, place) => place));
	for (let start = 0; start < size; start += CHUNK) {
		sending.write(body.subarray(start, start + CHUNK));
	}
	sending.end();
}

function headersOf({ size, framing, when, headers }) {
	const pairs = headers.map((header) => header.split(/: (.*)/s).slice(0, 2));
	const all = Object.fromEntries(pairs);
	if (framing === "length") {
		all["Content-Length"] = size;
	} else if (framing === "chunked") {
		all["Transfer-Encoding"] = "chunked";
	}
	if (when === "asked") {
		all.Expect = "100-continue";
	}
	return all;
}

function carryOut(order) {
	const hash = createHash("sha256");
	const seen = { status: 0, length: 0, sha256: "", error: "" };
	return new Promise((done) => {
		const finish = (error) => {
			seen.error ||= error;
			seen.sha256 ||= hash.digest("hex");
			done(seen);
		};
		const options = { method: order.method, agent, headers: headersOf(order) };
		// The path goes out as it is written, so it is no part of a URL object.
		const { hostname, port } = new URL(base);
		const host = { hostname: hostname.replace(/[[\]]/g, ""), port, path: order.path };
		const sending = request({ ...host, ...options, timeout: SECONDS * 1000 });
		sending.on("response", (answer) => {
			seen.status = answer.statusCode;
			answer.on("data", (piece) => {
				seen.length += piece.length;
				hash.update(piece);
			});
			answer.on("end", () => finish(""));
			answer.on("error", (error) => finish(String(error)));
		});
		sending.on("error", (error) => finish(String(error)));
		sending.on("timeout", () => sending.destroy(new Error("timeout")));
		if (order.when === "asked") {
			sending.on("continue", () => sendBody(sending, order.size));
			sending.flushHeaders();
		} else {
			sendBody(sending, order.size);
		}
	});
}

const lines = readFileSync(0, "utf8").split("\n").slice(0, -1);
for (const line of lines) {
	const [method, path, size, framing, when, ...headers] = line.split("\t");
	const seen = await carryOut({ method, path, size: Number(size), framing, when, headers });
	process.stdout.write(`${JSON.stringify(seen)}\n`);
}
agent.destroy();
