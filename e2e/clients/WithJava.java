// SPDX-License-Identifier: Apache-2.0

import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.util.Arrays;

/** The client in Java's HttpClient; BPFAST_HTTP=2 leaves its default, which offers HTTP/2 by an upgrade. */
final class WithJava {
	private static final Duration LIMIT = Duration.ofSeconds(30);
	private static final int PERIOD = 251;

	private final HttpClient client;
	private final String base;
	private final boolean keep;

	private WithJava(String base, boolean keep) {
		boolean offers = "2".equals(System.getenv("BPFAST_HTTP"));
		HttpClient.Version version = offers ? HttpClient.Version.HTTP_2 : HttpClient.Version.HTTP_1_1;
		this.client = HttpClient.newBuilder().version(version).connectTimeout(LIMIT).build();
		this.base = base;
		this.keep = keep;
	}

	public static void main(String[] arguments) throws IOException, InterruptedException {
		System.setProperty("jdk.httpclient.allowRestrictedHeaders", "connection");
		WithJava made = new WithJava(arguments[0], arguments[1].equals("keep"));
		BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
		for (String line = lines.readLine(); line != null; line = lines.readLine()) {
			System.out.println(made.carryOut(line.split("\t")));
		}
		// Threads of its own keep the client alive.
		System.exit(0);
	}

	private static BodyPublisher body(int size, String framing) {
		byte[] data = new byte[size];
		for (int place = 0; place < size; place++) {
			data[place] = (byte) (place % PERIOD);
		}
		return switch (framing) {
			case "none" -> BodyPublishers.noBody();
			// A stream has no length, so it is sent in chunks.
			case "chunked" -> BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(data));
			default -> BodyPublishers.ofByteArray(data);
		};
	}

	private String carryOut(String[] fields) throws InterruptedException {
		HttpRequest.Builder builder = HttpRequest.newBuilder(URI.create(base + fields[1])).timeout(LIMIT);
		builder.method(fields[0], body(Integer.parseInt(fields[2]), fields[3]));
		builder.expectContinue(fields[4].equals("asked"));
		if (!keep) {
			builder.setHeader("Connection", "close");
		}
		for (String header : Arrays.copyOfRange(fields, 5, fields.length)) {
			String[] pair = header.split(": ", 2);
			builder.setHeader(pair[0], pair[1]);
		}
		try {
			HttpResponse<byte[]> answer = client.send(builder.build(), BodyHandlers.ofByteArray());
			return row(answer.statusCode(), answer.body(), "");
		} catch (IOException error) {
			return row(0, new byte[0], error.toString());
		}
	}

	private static String row(int status, byte[] body, String error) {
		String said = error.replaceAll("[^ -~]|[\"\\\\]", "?");
		return String.format(
				"{\"status\": %d, \"length\": %d, \"sha256\": \"%s\", \"error\": \"%s\"}",
				status, body.length, sha256(body), said);
	}

	private static String sha256(byte[] data) {
		try {
			StringBuilder hex = new StringBuilder();
			for (byte each : MessageDigest.getInstance("SHA-256").digest(data)) {
				hex.append(String.format("%02x", each));
			}
			return hex.toString();
		} catch (NoSuchAlgorithmException error) {
			throw new IllegalStateException(error);
		}
	}
}
