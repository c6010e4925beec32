// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	k8sjson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	ipcachetypes "github.com/cilium/cilium/pkg/ipcache/types"
	ciliumclient "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/client"
	ciliumv2 "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2"
	"github.com/cilium/cilium/pkg/policy/api"
)

// A manifest on its way to the policy engine can be refused at four stages:
//
//	yaml      it is no YAML, has a key twice, or is of another kind
//	schema    the API server's validation against the CRD, unknown fields included
//	decode    the agent's own decoding
//	sanitize  the agent's checks of the rules

// crd is the generated schema of one kind in the two forms in which the API server uses it.
type crd struct {
	structure *structural.Structural
	validator validation.SchemaCreateValidator
}

type admitter struct{ cnp, ccnp *crd }

// admitted is a policy as the agent holds it.
type admitted struct {
	rules    api.Rules
	resource ipcachetypes.ResourceID
}

func newAdmitter() (*admitter, error) {
	cnp, err := newCRD(ciliumclient.CNPCRDName)
	if err != nil {
		return nil, err
	}
	ccnp, err := newCRD(ciliumclient.CCNPCRDName)
	return &admitter{cnp, ccnp}, err
}

func newCRD(name string) (*crd, error) {
	var internal apiextensions.CustomResourceValidation
	versions := ciliumclient.GetPregeneratedCRD(quiet, name).Spec.Versions
	err := apiextensionsv1.Convert_v1_CustomResourceValidation_To_apiextensions_CustomResourceValidation(
		versions[0].Schema, &internal, nil)
	if err != nil {
		return nil, err
	}
	c := &crd{}
	if c.structure, err = structural.NewStructural(internal.OpenAPIV3Schema); err != nil {
		return nil, err
	}
	c.validator, _, err = validation.NewSchemaValidator(internal.OpenAPIV3Schema)
	return c, err
}

// create does what the API server does with `kubectl apply --validate=strict`. It changes the object:
// nulls go, defaults come.
func (c *crd) create(object map[string]any) error {
	options := structural.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}
	if unknown := pruning.PruneWithOptions(object, c.structure, true, options); len(unknown) > 0 {
		return fmt.Errorf("unknown field %s", strings.Join(unknown, ", "))
	}
	defaulting.PruneNonNullableNullsWithoutDefaults(object, c.structure)
	defaulting.Default(object, c.structure)
	return validation.ValidateCustomResource(nil, object, c.validator).ToAggregate()
}

// receive validates an object and decodes it into the agent's type.
func (c *crd) receive(object map[string]any, typed any) error {
	if err := c.create(object); err != nil {
		return refuse("schema", "%w", err)
	}
	text, err := json.Marshal(object)
	if err == nil {
		err = yaml.UnmarshalStrict(text, typed)
	}
	if err != nil {
		return refuse("decode", "%w", err)
	}
	return nil
}

func (a *admitter) admit(manifest string) (*admitted, error) {
	text, err := yaml.YAMLToJSONStrict([]byte(manifest))
	if err != nil {
		return nil, refuse("yaml", "%w", err)
	}
	var object map[string]any
	if err := k8sjson.Unmarshal(text, &object); err != nil {
		return nil, refuse("yaml", "%w", err)
	}
	var policy admitted
	switch kind := object["kind"]; kind {
	case ciliumv2.CNPKindDefinition:
		err = a.namespaced(object, &policy)
	case ciliumv2.CCNPKindDefinition:
		err = a.clusterwide(object, &policy)
	default:
		err = refuse("yaml", "kind %v", kind)
	}
	return &policy, err
}

// The agent copies what it receives before it parses. That matters: the engine appends to lists of HTTP rules
// that several selectors share, and decoded lists, unlike copied ones, have room at their end, where the
// rules of one selector would overwrite those of another.

func (a *admitter) namespaced(object map[string]any, policy *admitted) error {
	var typed ciliumv2.CiliumNetworkPolicy
	if err := a.cnp.receive(object, &typed); err != nil {
		return err
	}
	if typed.Namespace == "" {
		typed.Namespace = "default"
	}
	var err error
	if policy.rules, err = typed.DeepCopy().Parse(quiet, ""); err != nil {
		return refuse("sanitize", "%w", err)
	}
	policy.resource = ipcachetypes.NewResourceID(ipcachetypes.ResourceKindCNP, typed.Namespace, typed.Name)
	return nil
}

func (a *admitter) clusterwide(object map[string]any, policy *admitted) error {
	var typed ciliumv2.CiliumClusterwideNetworkPolicy
	if err := a.ccnp.receive(object, &typed); err != nil {
		return err
	}
	var err error
	if policy.rules, err = typed.DeepCopy().Parse(quiet, ""); err != nil {
		return refuse("sanitize", "%w", err)
	}
	policy.resource = ipcachetypes.NewResourceID(ipcachetypes.ResourceKindCCNP, "", typed.Name)
	return nil
}
