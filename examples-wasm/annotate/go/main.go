// Adds a search domain to what containers get for name service, and refuses those that want certain host ports:
// annotate in Go, a command. What it does stands in the Rust one (../rust).
package main

import (
	"errors"
	"fmt"
	"slices"

	wasmhook "github.com/wasmhook/wasmhook/sdk/go"
)

func main() {
	wasmhook.Run(wasmhook.Hook{Pre: pre, Post: post})
}

type settings struct {
	search         *string
	forbiddenPorts []uint16
}

func read(request *wasmhook.Request) (settings settings, err error) {
	err = request.Settings(map[string]any{"search": &settings.search, "forbiddenPorts": &settings.forbiddenPorts})
	return
}

// What Go calls HostPort is also found as hostPort: podman writes the one, containerd the other.
type runtimeConfig struct {
	PortMappings []struct{ HostPort *uint16 }
}

func pre(request *wasmhook.Request) (wasmhook.Pre, error) {
	settings, err := read(request)
	if err != nil || request.Verb != "ADD" {
		return wasmhook.Proceed(), err
	}
	config, err := request.Object()
	if err != nil {
		return wasmhook.Proceed(), err
	}
	var runtime runtimeConfig
	if err := config.Read("runtimeConfig", &runtime); err != nil {
		return wasmhook.Proceed(), err
	}
	for _, mapping := range runtime.PortMappings {
		if port := mapping.HostPort; port != nil && slices.Contains(settings.forbiddenPorts, *port) {
			wasmhook.Log(wasmhook.Info, fmt.Sprintf("refused host port %d", *port))
			return wasmhook.Deny(100, fmt.Sprintf("host port %d is not allowed here", *port)), nil
		}
	}
	return wasmhook.Proceed(), nil
}

func post(request *wasmhook.Request, outcome wasmhook.Outcome) (wasmhook.Post, error) {
	settings, err := read(request)
	if err != nil || request.Verb != "ADD" || settings.search == nil {
		return wasmhook.Keep(), err
	}
	result, err := outcome.Object()
	if err != nil || result == nil {
		return wasmhook.Keep(), err
	}
	var dns wasmhook.Object
	if err := result.Read("dns", &dns); err != nil {
		return wasmhook.Keep(), err
	}
	var domains []string
	if err := dns.Read("search", &domains); err != nil || slices.Contains(domains, *settings.search) {
		return wasmhook.Keep(), err
	}
	err = errors.Join(dns.Set("search", append(domains, *settings.search)), result.Set("dns", &dns))
	return wasmhook.RewriteResult(result), err
}
