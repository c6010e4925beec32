// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"strings"

	npds "github.com/cilium/proxy/go/cilium/api"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/cilium/cilium/pkg/crypto/certificatemanager"
	envoypolicy "github.com/cilium/cilium/pkg/envoy/policy"
	"github.com/cilium/cilium/pkg/identity"
	ipcachetypes "github.com/cilium/cilium/pkg/ipcache/types"
	"github.com/cilium/cilium/pkg/policy"
	"github.com/cilium/cilium/pkg/policy/api"
	"github.com/cilium/cilium/pkg/u8proto"
)

const (
	allow    = "allow"
	deny     = "deny"
	redirect = "redirect"
)

// judge answers scenarios, one at a time.
type judge struct {
	admitter *admitter
	xds      *xds
	showNPDS bool
}

// question is a scenario whose policies have been taken, ready for the engine.
type question struct {
	*scenario
	policies []*admitted
	world    *world
	subject  *subject
	identity *identity.Identity
	peer     identity.NumericIdentity
	ingress  bool
	protocol u8proto.U8proto
}

// answer never fails: what goes wrong is in the answer, with the stage at which it did.
func (j *judge) answer(s *scenario) (a answer) {
	a.ID = s.ID
	defer func() {
		if trouble := recover(); trouble != nil {
			a = answer{ID: s.ID, Stage: "panic", Error: fmt.Sprint(trouble)}
		}
	}()
	if err := j.decide(s, &a); err != nil {
		a.L34, a.Requests, a.Shipped = "", nil, nil
		a.Stage, a.Error = "input", err.Error()
		var staged *stageError
		if errors.As(err, &staged) {
			a.Stage = staged.stage
		}
	}
	return a
}

func (j *judge) decide(s *scenario, a *answer) error {
	q, err := j.question(s, a)
	if err != nil {
		return err
	}
	repository := policy.NewPolicyRepository(quiet, q.world.identities, nil,
		envoypolicy.NewEnvoyL7RulesTranslator(quiet, certificatemanager.NewMockSecretManagerNotFound()),
		nil, &silent{})
	repository.GetSelectorCache().SetLocalIdentityNotifier(&silent{})
	for _, each := range q.policies {
		repository.ReplaceByResource(each.rules, each.resource)
	}
	selected, _, err := repository.GetSelectorPolicy(q.identity, 0, &silent{}, subjectEndpoint)
	if err != nil {
		return refuse("resolve", "%w", err)
	}
	redirects := q.subject.redirects(selected)
	resolved := selected.DistillPolicy(quiet, q.subject, redirects)
	q.subject.version = resolved.VersionHandle
	defer func() {
		resolved.Ready()
		resolved.Detach(quiet)
	}()
	a.L34 = q.lookup(resolved)

	// The message is asked for even when this peer is not redirected: one that does not validate
	// fails the whole endpoint.
	message, err := j.xds.message(q.subject, resolved)
	defer j.xds.forget(q.subject)
	if err != nil {
		return refuse("npds", "%w", err)
	}
	if err := acceptable(message); err != nil {
		if len(redirects) > 0 {
			return refuse("envoy", "%w", err)
		}
		// Nobody waits for Envoy when nothing is redirected.
		a.Notes = append(a.Notes, err.Error())
	}
	if j.showNPDS {
		a.NPDS, _ = protojson.Marshal(message)
	}
	return q.requests(message, a)
}

// question admits the policies, and notes those that are refused.
func (j *judge) question(s *scenario, a *answer) (*question, error) {
	q := &question{scenario: s, ingress: s.Direction == "ingress"}
	if !q.ingress && s.Direction != "egress" || s.Port == 0 {
		return nil, fmt.Errorf("direction %q, port %d", s.Direction, s.Port)
	}
	pod := s.find(s.Endpoint)
	if pod == nil {
		return nil, fmt.Errorf("endpoint %q is not in the list", s.Endpoint)
	}
	var rules api.Rules
	seen := map[ipcachetypes.ResourceID]bool{}
	for i, manifest := range s.Policies {
		taken, err := j.admitter.admit(manifest)
		var staged *stageError
		if errors.As(err, &staged) {
			a.Refused = append(a.Refused, refusal{i, staged.stage, err.Error()})
			continue
		}
		if err != nil {
			return nil, err
		}
		if seen[taken.resource] {
			return nil, fmt.Errorf("two policies named %s: the second would replace the first", taken.resource)
		}
		seen[taken.resource] = true
		q.policies = append(q.policies, taken)
		rules = append(rules, taken.rules...)
	}
	q.world = newWorld(s, rules)
	q.identity = q.world.pods[pod.fullName()]
	var err error
	if q.peer, err = q.world.peer(s); err != nil {
		return nil, err
	}
	if q.subject, err = newSubject(s, pod); err != nil {
		return nil, err
	}
	q.protocol = u8proto.TCP
	if s.Protocol != "" {
		q.protocol, err = u8proto.ParseProtocol(strings.ToUpper(s.Protocol))
	}
	return q, err
}

// lookup returns what the datapath does with the first packet.
func (q *question) lookup(resolved *policy.EndpointPolicy) string {
	key := policy.EgressKey()
	if q.ingress {
		key = policy.IngressKey()
	}
	entry, _, _ := resolved.Lookup(key.WithPortProto(q.protocol, q.Port).WithIdentity(q.peer))
	switch {
	case entry.IsDeny():
		return deny
	case entry.IsRedirectEntry():
		return redirect
	}
	return allow
}

// requests fills in the verdict of each request: the datapath's, or Envoy's where it is asked.
func (q *question) requests(message *npds.NetworkPolicy, a *answer) error {
	if a.L34 != redirect {
		for range q.Requests {
			a.Requests = append(a.Requests, a.L34)
		}
		return nil
	}
	entries := message.EgressPerPortPolicies
	if q.ingress {
		entries = message.IngressPerPortPolicies
	}
	if aborts(entries) {
		a.Notes = append(a.Notes, "two entries end at the last port: the shipped Envoy aborts on this message")
	}
	documented, err := q.ask(entries, true)
	if err != nil {
		return err
	}
	shipped, err := q.ask(entries, false)
	if err != nil {
		return err
	}
	a.Requests = documented
	if strings.Join(documented, " ") != strings.Join(shipped, " ") {
		a.Shipped = shipped
	}
	for i := range q.Requests {
		if path := q.Requests[i].Path; path != nil && normalised(*path) {
			a.Notes = append(a.Notes, fmt.Sprintf("request %d: Envoy may change this path first", i))
		}
	}
	return nil
}

func (q *question) ask(entries []*npds.PortNetworkPolicy, documented bool) ([]string, error) {
	rules, err := rulesFor(entries, q.Port, documented)
	if err != nil {
		return nil, refuse("envoy", "%w", err)
	}
	var verdicts []string
	for i := range q.Requests {
		verdict, err := rules.request(uint32(q.peer), &q.Requests[i])
		if err != nil {
			return nil, refuse("envoy", "%w", err)
		}
		verdicts = append(verdicts, verdict)
	}
	return verdicts, nil
}
