// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"regexp"
	"sync"

	npds "github.com/cilium/proxy/go/cilium/api"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
)

// The HTTP part of the message, after cilium/proxy ff7ae7d623be (cilium/network_policy.cc), which is what
// Cilium v1.18.4 ships.

var compiled sync.Map // pattern -> *regexp.Regexp

// whole returns a pattern compiled so that it matches the whole of a text. Go's syntax is RE2's.
func whole(pattern string) (*regexp.Regexp, error) {
	if found, ok := compiled.Load(pattern); ok {
		return found.(*regexp.Regexp), nil
	}
	// By itself first: in the group below "a)(b" would compile.
	if _, err := regexp.Compile(pattern); err != nil {
		return nil, err
	}
	matcher, err := regexp.Compile(`\A(?:` + pattern + `)\z`)
	if err == nil {
		compiled.Store(pattern, matcher)
	}
	return matcher, err
}

// satisfied tells whether a list of HTTP rules lets a request pass. With side effects in the list every
// rule that matches is run, since each may change the headers; without them the first one decides.
func satisfied(rules []*npds.HttpNetworkPolicyRule, f fields) (bool, error) {
	sideEffects := false
	for _, rule := range rules {
		sideEffects = sideEffects || len(rule.HeaderMatches) > 0
	}
	passed := false
	for _, rule := range rules {
		hit, err := matchAll(rule.Headers, f)
		if err != nil {
			return false, err
		}
		if !hit {
			continue
		}
		if !sideEffects {
			return true, nil
		}
		accepted, err := rewriteAll(rule.HeaderMatches, f)
		if err != nil {
			return false, err
		}
		passed = passed || accepted
	}
	return passed, nil
}

func matchAll(matchers []*routev3.HeaderMatcher, f fields) (bool, error) {
	for _, matcher := range matchers {
		if hit, err := match(matcher, f); err != nil || !hit {
			return false, err
		}
	}
	return true, nil
}

func match(matcher *routev3.HeaderMatcher, f fields) (bool, error) {
	value, present := f.get(matcher.Name)
	if presence, ok := matcher.HeaderMatchSpecifier.(*routev3.HeaderMatcher_PresentMatch); ok {
		return (present == presence.PresentMatch) != matcher.InvertMatch, nil
	}
	text := matcher.GetStringMatch()
	if text == nil || text.IgnoreCase {
		return false, fmt.Errorf("a header matcher of an unexpected kind: %v", matcher)
	}
	if !present {
		return false, nil
	}
	if pattern := text.GetSafeRegex(); pattern != nil {
		matcher, err := whole(pattern.Regex)
		return err == nil && matcher.MatchString(value), err
	}
	return (value == text.GetExact()) != matcher.InvertMatch, nil
}

func rewriteAll(matches []*npds.HeaderMatch, f fields) (bool, error) {
	accepted := true
	for _, match := range matches {
		ok, err := rewrite(match, f)
		if err != nil {
			return false, err
		}
		accepted = accepted && ok
	}
	return accepted, nil
}

// rewrite does what a headerMatches entry asks for, and tells whether its rule may still match.
func rewrite(match *npds.HeaderMatch, f fields) (bool, error) {
	if match.ValueSdsSecret != "" {
		return false, fmt.Errorf("header %q is compared with a secret, which is not here", match.Name)
	}
	name := fieldName(match.Name)
	value, present := f.get(name)
	if present && (match.Value == "" || value == match.Value) {
		if match.MatchAction == npds.HeaderMatch_DELETE_ON_MATCH {
			delete(f, name)
		}
		return match.MatchAction != npds.HeaderMatch_FAIL_ON_MATCH, nil
	}
	switch match.MismatchAction {
	case npds.HeaderMatch_ADD_ON_MISMATCH:
		f[name] = append(f[name], match.Value)
	case npds.HeaderMatch_REPLACE_ON_MISMATCH:
		f[name] = []string{match.Value}
	case npds.HeaderMatch_DELETE_ON_MISMATCH:
		if match.Value != "" {
			delete(f, name)
		}
	}
	return match.MismatchAction != npds.HeaderMatch_FAIL_ON_MISMATCH, nil
}
