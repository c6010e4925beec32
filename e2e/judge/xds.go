// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/cilium/hive/cell"
	npds "github.com/cilium/proxy/go/cilium/api"

	"github.com/cilium/cilium/pkg/crypto/certificatemanager"
	"github.com/cilium/cilium/pkg/endpointstate"
	"github.com/cilium/cilium/pkg/envoy"
	"github.com/cilium/cilium/pkg/hive"
	"github.com/cilium/cilium/pkg/ipcache"
	k8sclient "github.com/cilium/cilium/pkg/k8s/client"
	"github.com/cilium/cilium/pkg/policy"
	"github.com/cilium/cilium/pkg/promise"
	"github.com/cilium/cilium/pkg/proxy/accesslog"
)

// xds turns a resolved policy into the message that Envoy would get. The code that does this is not
// exported, but the agent's Envoy cell provides a server that runs it; that server is built and never
// started, so no socket is opened.
type xds struct{ server envoy.XDSServer }

type noCluster struct{ k8sclient.Clientset }

func (noCluster) IsEnabled() bool { return false }

type nothingToRestore struct{}

func (nothingToRestore) WaitForEndpointRestore(context.Context) error { return nil }
func (nothingToRestore) WaitForInitialPolicy(context.Context) error   { return nil }

func newXDS() (*xds, error) {
	x := &xds{}
	parts := hive.New(
		envoy.Cell,
		cell.Provide(
			func() *ipcache.IPCache { return nil },
			func() accesslog.ProxyAccessLogger { return nil },
			func() k8sclient.Clientset { return noCluster{} },
			func() certificatemanager.SecretManager { return certificatemanager.NewMockSecretManagerNotFound() },
			func() promise.Promise[endpointstate.Restorer] {
				resolver, restorer := promise.New[endpointstate.Restorer]()
				resolver.Resolve(nothingToRestore{})
				return restorer
			},
		),
		cell.Invoke(func(server envoy.XDSServer) { x.server = server }),
	)
	return x, parts.Populate(quiet)
}

// message returns the validated NetworkPolicy of an endpoint; the caller calls forget.
func (x *xds) message(s *subject, resolved *policy.EndpointPolicy) (*npds.NetworkPolicy, error) {
	err, _ := x.server.UpdateNetworkPolicy(s, &resolved.L4Policy,
		resolved.IngressPolicyEnabled, resolved.EgressPolicyEnabled, nil)
	if err != nil {
		return nil, err
	}
	found, err := x.server.GetNetworkPolicies([]string{strconv.Itoa(subjectEndpoint)})
	if err != nil {
		return nil, err
	}
	if found[subjectAddress] == nil {
		return nil, fmt.Errorf("no NetworkPolicy in the cache of the xDS server")
	}
	return found[subjectAddress], nil
}

func (x *xds) forget(s *subject) { x.server.RemoveNetworkPolicy(s) }
