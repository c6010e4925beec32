// SPDX-License-Identifier: Apache-2.0

package main

import "strings"

// fields are the headers of one request as Envoy holds them: names in lower case, method and path as
// pseudo headers, and Host as :authority.
type fields map[string][]string

const authority = ":authority"

func (r *request) fields() fields {
	f := fields{":method": {"GET"}, ":path": {"/"}}
	for name, value := range map[string]*string{":method": r.Method, ":path": r.Path, authority: r.Host} {
		if value != nil {
			f[name] = []string{*value}
		}
	}
	for _, header := range r.Headers {
		name := fieldName(header[0])
		if name != authority || len(f[name]) == 0 {
			f[name] = append(f[name], strings.Trim(header[1], " \t"))
		}
	}
	return f
}

func fieldName(name string) string {
	if name = strings.ToLower(name); name == "host" {
		return authority
	}
	return name
}

// get returns a header's value, repeated ones joined as Envoy joins them, and whether it is there.
func (f fields) get(name string) (string, bool) {
	values := f[fieldName(name)]
	return strings.Join(values, ","), len(values) > 0
}

// normalised tells whether Envoy, as Cilium sets it up, may change this path or answer with a redirect
// before the policy sees it. The judge matches the path as it is.
func normalised(target string) bool {
	path, _, _ := strings.Cut(target, "?")
	if strings.ContainsAny(path, `%\#`) || strings.Contains(path, "//") {
		return true
	}
	for _, segment := range strings.Split(path, "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}
