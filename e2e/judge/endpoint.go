// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/cilium/cilium/pkg/container/versioned"
	"github.com/cilium/cilium/pkg/endpoint/regeneration"
	"github.com/cilium/cilium/pkg/policy"
	"github.com/cilium/cilium/pkg/policy/api"
	"github.com/cilium/cilium/pkg/proxy/accesslog"
	"github.com/cilium/cilium/pkg/spanstat"
	"github.com/cilium/cilium/pkg/types"
	"github.com/cilium/cilium/pkg/u8proto"
)

const (
	subjectEndpoint = 4242
	subjectAddress  = "10.0.0.10" // names the message for Envoy, nothing else
	firstProxyPort  = 11000
)

// subject is the endpoint whose policy is asked for, as the policy engine and the xDS server want to see it.
// Named ports are its own on ingress, and on egress those of all endpoints.
type subject struct {
	own     types.NamedPortMap
	all     types.NamedPortMultiMap
	version *versioned.VersionHandle
}

func newSubject(s *scenario, p *pod) (*subject, error) {
	union := types.NewNamedPortMultiMap()
	for i := range s.Endpoints {
		ports, err := s.Endpoints[i].namedPorts()
		if err != nil {
			return nil, err
		}
		union.Update(nil, ports)
	}
	own, err := p.namedPorts()
	return &subject{own: own, all: union}, err
}

func (s *subject) GetNamedPort(ingress bool, name string, proto u8proto.U8proto) uint16 {
	var port uint16
	var err error
	if ingress {
		port, err = s.own.GetNamedPort(name, proto)
	} else {
		port, err = s.all.GetNamedPort(name, proto)
	}
	if err != nil {
		return 0
	}
	return port
}

// redirects gives every filter with L7 rules a proxy port, as the agent does before it computes the map.
func (s *subject) redirects(resolved policy.SelectorPolicy) map[string]uint16 {
	ports := map[string]uint16{}
	for filter, tuple := range resolved.RedirectFilters() {
		port := filter.Port
		if port == 0 && filter.PortName != "" {
			if port = s.GetNamedPort(filter.Ingress, filter.PortName, filter.U8Proto); port == 0 {
				continue
			}
		}
		id := policy.ProxyID(subjectEndpoint, filter.Ingress, string(filter.Protocol), port,
			tuple.Policy.GetListener())
		if ports[id] == 0 {
			ports[id] = uint16(firstProxyPort + len(ports))
		}
	}
	return ports
}

func (s *subject) GetID() uint64                                    { return subjectEndpoint }
func (s *subject) GetPolicyNames() []string                         { return []string{subjectAddress} }
func (s *subject) GetIPv4Address() string                           { return subjectAddress }
func (s *subject) GetIPv6Address() string                           { return "" }
func (s *subject) GetPolicyVersionHandle() *versioned.VersionHandle { return s.version }
func (s *subject) GetListenerProxyPort(string) uint16               { return 0 }
func (s *subject) PolicyDebug(string, ...any)                       {}
func (s *subject) IsHost() bool                                     { return false }
func (s *subject) MapStateSize() int                                { return 0 }
func (s *subject) OnProxyPolicyUpdate(uint64)                       {}
func (s *subject) UpdateProxyStatistics(string, string, uint16, uint16, bool, bool, accesslog.FlowVerdict) {
}

func (s *subject) RegenerateIfAlive(*regeneration.ExternalRegenerationMetadata) <-chan bool {
	done := make(chan bool)
	close(done)
	return done
}

// silent counts nothing, measures nothing and resolves no names.
type silent struct{ waiting, calculating spanstat.SpanStat }

func (*silent) AddRule(api.Rule)                                 {}
func (*silent) DelRule(api.Rule)                                 {}
func (*silent) RegisterFQDNSelector(api.FQDNSelector)            {}
func (*silent) UnregisterFQDNSelector(api.FQDNSelector)          {}
func (s *silent) WaitingForPolicyRepository() *spanstat.SpanStat { return &s.waiting }
func (s *silent) SelectorPolicyCalculation() *spanstat.SpanStat  { return &s.calculating }
