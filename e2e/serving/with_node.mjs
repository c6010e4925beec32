// SPDX-License-Identifier: Apache-2.0
// A server in Node's http module: files by GET and HEAD, the checksum of the body by POST.

import { createHash } from "node:crypto";
import { appendFileSync, createReadStream, statSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";

const [port, directory, log] = process.argv.slice(2);

function answer(request, reply, status, head) {
	appendFileSync(log, `${status} "${request.method} ${request.url} HTTP/${request.httpVersion}"\n`);
	reply.writeHead(status, head);
}

function sum(request, reply) {
	const hash = createHash("sha256");
	request.on("data", (piece) => hash.update(piece));
	request.on("end", () => {
		answer(request, reply, 200, { "Content-Length": 64 });
		reply.end(hash.digest("hex"));
	});
}

function file(request, reply) {
	const path = join(directory, request.url);
	const stat = statSync(path, { throwIfNoEntry: false });
	answer(request, reply, stat ? 200 : 404, { "Content-Length": stat ? stat.size : 0 });
	if (stat && request.method === "GET") {
		createReadStream(path).pipe(reply);
	} else {
		reply.end();
	}
}

const server = createServer((request, reply) => {
	(request.method === "POST" ? sum : file)(request, reply);
});
// Node closes idle connections after five seconds; a slow machine may need longer between two requests.
server.keepAliveTimeout = 60_000;
server.listen(Number(port), "::");
