// SPDX-License-Identifier: Apache-2.0

// Command judge says what Cilium would do: one scenario (JSON) a line in, one verdict (JSON) a line out.
//
// Policies are taken or refused by Cilium's own CRDs and checks, resolved by its own policy engine, looked
// up with its own precedence, and turned into Envoy's message by its own xDS server. Only how Envoy reads
// that message is written here (envoy.go, httprules.go, request.go).
//
// Names are never resolved, so toFQDNs selects nobody. Out of reach: services, groups, CIDR groups, nodes and
// the host firewall, authentication, TLS, SNI, secrets, listeners and cluster mesh.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"log/slog"
	"os"

	"github.com/cilium/cilium/pkg/fqdn/re"
	"github.com/cilium/cilium/pkg/option"
	"github.com/cilium/cilium/pkg/policy"
	"github.com/cilium/cilium/pkg/policy/api"
)

const bufferBytes = 1 << 20

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// configure sets what the agent's flags set on a plain Kubernetes cluster.
func configure(dualStack bool) error {
	option.Config.EnableIPv4 = true
	option.Config.EnableIPv6 = dualStack
	option.Config.AllowLocalhost = option.AllowLocalhostAlways
	option.Config.ExternalEnvoyProxy = true
	api.InitEntities(clusterName)
	policy.SetPolicyEnabled(option.DefaultEnforcement)
	return re.InitRegexCompileLRU(quiet, 4096)
}

func newJudges(count int, showNPDS bool) ([]*judge, error) {
	admitter, err := newAdmitter()
	if err != nil {
		return nil, err
	}
	// While the cells are built the proxy is off, or the Envoy cell would look for a cluster.
	option.Config.EnableL7Proxy = false
	defer func() { option.Config.EnableL7Proxy = true }()
	var judges []*judge
	for range count {
		server, err := newXDS()
		if err != nil {
			return nil, err
		}
		judges = append(judges, &judge{admitter, server, showNPDS})
	}
	return judges, nil
}

// job is one line on its way to an answer.
type job struct {
	line   []byte
	answer chan answer
}

func (j *judge) work(jobs <-chan job) {
	for each := range jobs {
		var s scenario
		if err := json.Unmarshal(each.line, &s); err != nil {
			each.answer <- answer{ID: s.ID, Stage: "input", Error: err.Error()}
			continue
		}
		each.answer <- j.answer(&s)
	}
}

// read hands every line to a worker and, in order, to the writer.
func read(in io.Reader, jobs, ordered chan<- job) error {
	defer close(ordered)
	defer close(jobs)
	lines := bufio.NewReaderSize(in, bufferBytes)
	for {
		line, err := lines.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			each := job{line, make(chan answer, 1)}
			ordered <- each
			jobs <- each
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func run(judges []*judge, in io.Reader, out io.Writer) error {
	jobs, ordered := make(chan job), make(chan job, 256)
	for _, each := range judges {
		go each.work(jobs)
	}
	failed := make(chan error, 1)
	go func() { failed <- read(in, jobs, ordered) }()

	buffered := bufio.NewWriterSize(out, bufferBytes)
	encoder := json.NewEncoder(buffered)
	encoder.SetEscapeHTML(false)
	for each := range ordered {
		if err := encoder.Encode(<-each.answer); err != nil {
			return err
		}
		// Somebody may wait for this line before writing the next.
		if len(ordered) == 0 {
			if err := buffered.Flush(); err != nil {
				return err
			}
		}
	}
	return <-failed
}

func main() {
	count := flag.Int("j", 2, "scenarios at the same time")
	dualStack := flag.Bool("dual-stack", false, "IPv4 and IPv6: world is world-ipv4 or world-ipv6")
	showNPDS := flag.Bool("npds", false, "add Envoy's message to the answer")
	flag.Parse()
	err := configure(*dualStack)
	var judges []*judge
	if err == nil {
		judges, err = newJudges(max(1, *count), *showNPDS)
	}
	if err == nil {
		err = run(judges, os.Stdin, os.Stdout)
	}
	if err != nil {
		slog.Error("judge", "error", err)
		os.Exit(1)
	}
}
