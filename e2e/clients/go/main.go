// SPDX-License-Identifier: Apache-2.0

// The client in Go's net/http.
package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	limit  = 30 * time.Second
	period = 251
)

type seen struct {
	Status int    `json:"status"`
	Length int64  `json:"length"`
	Sha256 string `json:"sha256"`
	Error  string `json:"error"`
}

// plain hides a reader's length, so that net/http sends it in chunks.
type plain struct{ io.Reader }

func body(size int, framing string) io.Reader {
	if framing == "none" {
		return nil
	}
	data := make([]byte, size)
	for place := range data {
		data[place] = byte(place % period)
	}
	if framing == "chunked" {
		return plain{bytes.NewReader(data)}
	}
	return bytes.NewReader(data)
}

func order(base string, fields []string) (*http.Request, error) {
	size, err := strconv.Atoi(fields[2])
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequest(fields[0], base+fields[1], body(size, fields[3]))
	if err != nil {
		return nil, err
	}
	if fields[4] == "asked" {
		request.Header.Set("Expect", "100-continue")
	}
	for _, header := range fields[5:] {
		name, value, _ := strings.Cut(header, ": ")
		request.Header.Set(name, value)
	}
	return request, nil
}

func carryOut(client *http.Client, base, line string) seen {
	request, err := order(base, strings.Split(line, "\t"))
	if err != nil {
		return seen{Error: err.Error()}
	}
	answer, err := client.Do(request)
	if err != nil {
		return seen{Error: err.Error()}
	}
	defer answer.Body.Close()
	sum := sha256.New()
	length, err := io.Copy(sum, answer.Body)
	found := seen{Status: answer.StatusCode, Length: length, Sha256: hex.EncodeToString(sum.Sum(nil))}
	if err != nil {
		found.Error = err.Error()
	}
	return found
}

func main() {
	client := &http.Client{Timeout: limit, Transport: &http.Transport{
		DisableKeepAlives:     os.Args[2] != "keep",
		DisableCompression:    true,
		MaxConnsPerHost:       1,
		ExpectContinueTimeout: limit,
	}}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		if err := out.Encode(carryOut(client, os.Args[1], lines.Text())); err != nil {
			panic(err)
		}
	}
}
