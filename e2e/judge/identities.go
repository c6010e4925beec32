// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"sort"
	"strings"

	"github.com/cilium/cilium/pkg/identity"
	"github.com/cilium/cilium/pkg/labels"
	"github.com/cilium/cilium/pkg/policy"
	"github.com/cilium/cilium/pkg/policy/api"
)

const (
	clusterName  = "default"
	firstPod     = identity.NumericIdentity(20000)
	firstCIDR    = identity.IdentityScopeLocal + 1
	entityPrefix = "entity:"
)

// world knows the identities of one scenario: the reserved ones, one for each distinct set of pod labels,
// and one for each prefix that a policy names.
type world struct {
	identities identity.IdentityMap
	pods       map[string]*identity.Identity // by the pod's full name
	prefixes   map[netip.Prefix]identity.NumericIdentity
}

func newWorld(s *scenario, rules api.Rules) *world {
	w := &world{
		identities: identity.ListReservedIdentities(),
		pods:       map[string]*identity.Identity{},
		prefixes:   map[netip.Prefix]identity.NumericIdentity{},
	}
	known := map[string]*identity.Identity{}
	for i := range s.Endpoints {
		w.addPod(&s.Endpoints[i], known)
	}
	prefixes := policy.GetCIDRPrefixes(rules)
	sort.Slice(prefixes, func(i, j int) bool { return prefixes[i].String() < prefixes[j].String() })
	for _, prefix := range prefixes {
		w.addPrefix(prefix.Masked())
	}
	return w
}

// addPod gives pods with the same labels the same identity.
func (w *world) addPod(p *pod, known map[string]*identity.Identity) {
	set := podLabels(p)
	key := string(set.SortedList())
	if known[key] == nil {
		known[key] = identity.NewIdentity(firstPod+identity.NumericIdentity(len(known)), set)
		w.identities[known[key].ID] = known[key].LabelArray
	}
	w.pods[p.fullName()] = known[key]
}

func (w *world) addPrefix(prefix netip.Prefix) {
	if _, found := w.prefixes[prefix]; found {
		return
	}
	if prefix.Bits() == 0 {
		w.prefixes[prefix] = identity.GetWorldIdentityFromIP(prefix.Addr())
		return
	}
	id := firstCIDR + identity.NumericIdentity(len(w.prefixes))
	w.prefixes[prefix] = id
	w.identities[id] = labels.GetCIDRLabels(prefix).LabelArray()
}

// podLabels returns the labels that the agent gives a pod: its own, and what it derives from the pod.
func podLabels(p *pod) labels.Labels {
	namespace, _, _ := strings.Cut(p.fullName(), "/")
	account := p.ServiceAccount
	if account == "" {
		account = "default"
	}
	all := map[string]string{
		"io.kubernetes.pod.namespace":                                namespace,
		"io.cilium.k8s.policy.cluster":                               clusterName,
		"io.cilium.k8s.policy.serviceaccount":                        account,
		"io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name": namespace,
	}
	for key, value := range p.NamespaceLabels {
		all["io.cilium.k8s.namespace.labels."+key] = value
	}
	for key, value := range p.Labels {
		all[key] = value
	}
	return labels.Map2Labels(all, labels.LabelSourceK8s)
}

// peer returns the identity of "namespace/name", an address or "entity:name".
func (w *world) peer(s *scenario) (identity.NumericIdentity, error) {
	if name, found := strings.CutPrefix(s.Peer, entityPrefix); found {
		return entity(name)
	}
	if address, err := netip.ParseAddr(s.Peer); err == nil {
		if owner := s.owner(address); owner != nil {
			return w.pods[owner.fullName()].ID, nil
		}
		return w.address(address), nil
	}
	if found := w.pods[s.Peer]; found != nil {
		return found.ID, nil
	}
	return 0, fmt.Errorf("peer %q is no endpoint, address or entity", s.Peer)
}

// address returns the identity of the longest known prefix, as the ipcache answers.
func (w *world) address(address netip.Addr) identity.NumericIdentity {
	longest, found := -1, identity.GetWorldIdentityFromIP(address)
	for prefix, id := range w.prefixes {
		if prefix.Contains(address) && prefix.Bits() > longest {
			longest, found = prefix.Bits(), id
		}
	}
	return found
}

// entity returns a reserved identity by its name; entities that stand for several ("all") are no peers.
func entity(name string) (identity.NumericIdentity, error) {
	if name == "world" {
		return identity.GetWorldIdentityFromIP(netip.IPv4Unspecified()), nil
	}
	switch id := identity.GetReservedID(name); id {
	case identity.ReservedIdentityHost, identity.ReservedIdentityRemoteNode, identity.ReservedIdentityHealth,
		identity.ReservedIdentityInit, identity.ReservedIdentityUnmanaged, identity.ReservedIdentityIngress,
		identity.ReservedIdentityKubeAPIServer:
		return id, nil
	}
	return 0, fmt.Errorf("entity %q is not a single identity", name)
}
