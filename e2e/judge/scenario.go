// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"github.com/cilium/cilium/pkg/types"
)

// scenario is one input line: what `bpfast verdict --scenarios` takes, and requests in words.
// Keys that are not listed ("streams") are for others and ignored.
type scenario struct {
	ID        json.RawMessage `json:"id"`
	Policies  []string        `json:"policies"`
	Endpoints []pod           `json:"endpoints"`
	Direction string          `json:"direction"`
	Endpoint  string          `json:"endpoint"`
	Peer      string          `json:"peer"`
	Port      uint16          `json:"port"`
	Protocol  string          `json:"protocol"` // TCP unless given
	Requests  []request       `json:"requests"`
}

// pod is an entry of the endpoints file, as far as policies can see it.
type pod struct {
	Name            string              `json:"name"`
	Namespace       string              `json:"namespace"`
	Labels          map[string]string   `json:"labels"`
	NamespaceLabels map[string]string   `json:"namespace_labels"`
	ServiceAccount  string              `json:"service_account"`
	Addresses       []netip.Addr        `json:"addresses"`
	Ports           map[string]portSpec `json:"ports"`
}

// portSpec is the value of a named port: 80, "80" or "53/UDP".
type portSpec struct {
	number   int
	protocol string
}

// request is one HTTP request. Without method or path it is GET and /, without host it has no Host header.
type request struct {
	Method  *string     `json:"method"`
	Path    *string     `json:"path"`
	Host    *string     `json:"host"`
	Headers [][2]string `json:"headers"`
}

// refusal is a policy that never reaches the policy engine, as a real agent would go on without it.
type refusal struct {
	Policy int    `json:"policy"` // its place in the list
	Stage  string `json:"stage"`
	Error  string `json:"error"`
}

// answer is one output line. Either there is a verdict, or Stage and Error say why nothing can be said.
type answer struct {
	ID       json.RawMessage `json:"id"`
	L34      string          `json:"l34,omitempty"`
	Requests []string        `json:"requests,omitempty"`
	// What the Envoy that is shipped with this Cilium answers, only where it differs from Requests.
	Shipped []string        `json:"requests_shipped,omitempty"`
	Refused []refusal       `json:"refused,omitempty"`
	Stage   string          `json:"stage,omitempty"`
	Error   string          `json:"error,omitempty"`
	Notes   []string        `json:"notes,omitempty"`
	NPDS    json.RawMessage `json:"npds,omitempty"`
}

// stageError is an error that knows who would have refused.
type stageError struct {
	stage string
	err   error
}

func (e *stageError) Error() string { return e.err.Error() }
func (e *stageError) Unwrap() error { return e.err }

func refuse(stage, format string, args ...any) error {
	return &stageError{stage, fmt.Errorf(format, args...)}
}

func (p *portSpec) UnmarshalJSON(text []byte) error {
	if json.Unmarshal(text, &p.number) == nil {
		p.protocol = "TCP"
		return nil
	}
	var both string
	if err := json.Unmarshal(text, &both); err != nil {
		return err
	}
	number, protocol, found := strings.Cut(both, "/")
	if !found {
		protocol = "TCP"
	}
	p.protocol = strings.ToUpper(protocol)
	return json.Unmarshal([]byte(number), &p.number)
}

func (p *pod) fullName() string {
	if p.Namespace == "" {
		return "default/" + p.Name
	}
	return p.Namespace + "/" + p.Name
}

// find returns the endpoint of that name, or nil.
func (s *scenario) find(fullName string) *pod {
	for i := range s.Endpoints {
		if s.Endpoints[i].fullName() == fullName {
			return &s.Endpoints[i]
		}
	}
	return nil
}

// owner returns the endpoint that has an address, or nil.
func (s *scenario) owner(address netip.Addr) *pod {
	for i := range s.Endpoints {
		for _, own := range s.Endpoints[i].Addresses {
			if own == address {
				return &s.Endpoints[i]
			}
		}
	}
	return nil
}

// namedPorts returns a pod's own ports by name, by the agent's rules of what a name is.
func (p *pod) namedPorts() (types.NamedPortMap, error) {
	ports := types.NamedPortMap{}
	for name, port := range p.Ports {
		if err := ports.AddPort(name, port.number, port.protocol); err != nil {
			return nil, fmt.Errorf("port %q of %s: %w", name, p.fullName(), err)
		}
	}
	return ports, nil
}
