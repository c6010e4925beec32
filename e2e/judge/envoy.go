// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"sort"

	npds "github.com/cilium/proxy/go/cilium/api"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
)

// The message's rules for one port, after cilium/proxy ff7ae7d623be (cilium/network_policy.cc). This part
// knows the message alone: no policies, selectors or port names.

const lastPort = 65535

// ruleList holds the rules of all entries that cover one port, or of the wildcard port.
type ruleList struct {
	rules      []*npds.PortNetworkPolicyRule
	firstWins  bool // no rule has side effects: the first that allows ends it
	inspection bool // some rule looks at HTTP
}

// portRules are the two lists that both have a say about a port.
type portRules struct{ port, wildcard *ruleList }

// covers tells whether an entry applies to a port, and whether it is for that port alone.
func covers(entry *npds.PortNetworkPolicy, port uint32) (covered, single bool, err error) {
	last := max(entry.EndPort, entry.Port)
	if entry.EndPort != 0 && entry.EndPort < entry.Port || entry.Port == 0 && entry.EndPort != 0 {
		return false, false, fmt.Errorf("Envoy refuses the range %d-%d", entry.Port, entry.EndPort)
	}
	return entry.Port != 0 && entry.Port <= port && port <= last, last == entry.Port, nil
}

// rulesFor collects the rules of a port. An entry without rules allows everybody. The shipped Envoy
// forgets such an entry where it overlaps with one that has rules; with documented it counts, as the
// message's description says and later Envoy builds do.
func rulesFor(entries []*npds.PortNetworkPolicy, port uint16, documented bool) (*portRules, error) {
	exact, wildcard := &ruleList{}, &ruleList{}
	for _, entry := range entries {
		if entry.Protocol != corev3.SocketAddress_TCP {
			continue
		}
		covered, single, err := covers(entry, uint32(port))
		switch {
		case err != nil:
			return nil, err
		case entry.Port == 0:
			wildcard.add(entry, true, documented)
		case covered:
			exact.add(entry, single, documented)
		}
	}
	return &portRules{exact.finished(), wildcard.finished()}, nil
}

// add puts rules of single ports before those of ranges. The empty rule stands for "everybody"; a list of
// nothing else has the same meaning without it.
func (l *ruleList) add(entry *npds.PortNetworkPolicy, single, documented bool) {
	rules := entry.Rules
	if len(rules) == 0 && documented {
		rules = []*npds.PortNetworkPolicyRule{{}}
	}
	if single {
		l.rules = append(append([]*npds.PortNetworkPolicyRule{}, rules...), l.rules...)
	} else {
		l.rules = append(l.rules, rules...)
	}
	if l.rules == nil {
		l.rules = []*npds.PortNetworkPolicyRule{}
	}
}

// finished returns the list ready for use, or nil when no entry was added.
func (l *ruleList) finished() *ruleList {
	if l.rules == nil {
		return nil
	}
	l.firstWins = true
	for _, rule := range l.rules {
		for _, http := range rule.GetHttpRules().GetHttpRules() {
			l.inspection = true
			l.firstWins = l.firstWins && len(http.HeaderMatches) == 0
		}
	}
	sort.SliceStable(l.rules, func(i, j int) bool { return l.rules[i].Deny && !l.rules[j].Deny })
	return l
}

// speaksOf tells whether a rule is about this peer. Rules of custom listeners are not for plain HTTP.
func speaksOf(rule *npds.PortNetworkPolicyRule, peer uint32) bool {
	if rule.ProxyId != 0 {
		return false
	}
	for _, id := range rule.RemotePolicies {
		if id == peer {
			return true
		}
	}
	return len(rule.RemotePolicies) == 0
}

// opinion asks one list; f is nil for the look at the connection that comes before any HTTP.
func (l *ruleList) opinion(peer uint32, f fields) (allow, deny bool, err error) {
	if len(l.rules) == 0 {
		return true, false, nil
	}
	for _, rule := range l.rules {
		if !speaksOf(rule, peer) {
			continue
		}
		if rule.Deny {
			return false, true, nil
		}
		passed := true
		if http := rule.GetHttpRules().GetHttpRules(); f == nil {
			passed = len(rule.ServerNames) == 0
		} else if len(http) > 0 {
			if passed, err = satisfied(http, f); err != nil {
				return false, false, err
			}
		}
		allow = allow || passed
		if allow && l.firstWins {
			break
		}
	}
	return allow, false, nil
}

func (p *portRules) passes(peer uint32, f fields) (bool, error) {
	allow, deny := false, false
	for _, list := range []*ruleList{p.port, p.wildcard} {
		if list == nil || list == p.wildcard && allow && list.firstWins {
			continue
		}
		allowed, denied, err := list.opinion(peer, f)
		if err != nil {
			return false, err
		}
		allow, deny = allow || allowed, deny || denied
	}
	return allow && !deny, nil
}

func (p *portRules) inspects() bool {
	return p.port != nil && p.port.inspection || p.wildcard != nil && p.wildcard.inspection
}

// request returns Envoy's verdict on one request of a peer.
func (p *portRules) request(peer uint32, r *request) (string, error) {
	passed, err := p.passes(peer, nil)
	if err == nil && passed && p.inspects() {
		passed, err = p.passes(peer, r.fields())
	}
	if err != nil || !passed {
		return "deny", err
	}
	return "allow", nil
}

// acceptable tells whether Envoy would take the message at all.
func acceptable(message *npds.NetworkPolicy) error {
	for _, entries := range [][]*npds.PortNetworkPolicy{
		message.IngressPerPortPolicies, message.EgressPerPortPolicies,
	} {
		for _, entry := range entries {
			if _, _, err := covers(entry, 1); err != nil {
				return err
			}
			if err := patternsCompile(entry); err != nil {
				return err
			}
		}
	}
	return nil
}

func patternsCompile(entry *npds.PortNetworkPolicy) error {
	for _, rule := range entry.Rules {
		for _, http := range rule.GetHttpRules().GetHttpRules() {
			for _, matcher := range http.Headers {
				if pattern := matcher.GetStringMatch().GetSafeRegex(); pattern != nil {
					if _, err := whole(pattern.Regex); err != nil {
						return fmt.Errorf("Envoy refuses %s: %w", matcher.Name, err)
					}
				}
			}
		}
	}
	return nil
}

// aborts tells whether the shipped Envoy would abort: two entries that end at the last port.
func aborts(entries []*npds.PortNetworkPolicy) bool {
	ends := 0
	for _, entry := range entries {
		if entry.Protocol == corev3.SocketAddress_TCP && max(entry.Port, entry.EndPort) == lastPort {
			ends++
		}
	}
	return ends > 1
}
