package wasmhook

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// Request is one plugin call as the hook sees it.
type Request struct {
	// Verb is ADD, DEL, CHECK, GC or STATUS; an open set.
	Verb string `json:"verb"`
	// CNIVersion is what configuration and result are written in.
	CNIVersion string `json:"cniVersion"`
	// ContainerID is CNI_CONTAINERID.
	ContainerID string `json:"containerId"`
	// Netns is CNI_NETNS: a path; empty when the runtime gave none.
	Netns string `json:"netns"`
	// Ifname is CNI_IFNAME.
	Ifname string `json:"ifname"`
	// Args is CNI_ARGS.
	Args map[string]string `json:"args"`
	// Network is the network's name.
	Network string `json:"network"`
	// Plugin is the type of the delegate; empty when the hook stands alone.
	Plugin string `json:"plugin"`
	// Config is the configuration that the delegate gets; without a delegate, the wasmhook entry itself. See Object.
	Config json.RawMessage `json:"config"`
	// PrevResult is the result of the plugins before; nil when there is none.
	PrevResult json.RawMessage `json:"prevResult"`
	// HookConfig is this hook's own config in the conflist. See Settings.
	HookConfig json.RawMessage `json:"hookConfig"`
	// DryRun says that nothing the hook says will be carried out.
	DryRun bool `json:"dryRun"`
	// Carry is what this hook's Pre left with SetCarry; nil when nothing.
	Carry json.RawMessage `json:"carry"`
	// Extra is what later versions add.
	Extra json.RawMessage `json:"extra"`
}

// Object is Config, ready to be changed.
func (r *Request) Object() (Object, error) { return object("the configuration", r.Config) }

// Settings reads HookConfig: each key into the variable that stands for it here. A key that has none is an error, so
// that a typo is found; a key that is absent or null leaves its variable alone.
func (r *Request) Settings(into map[string]any) error {
	config, err := object("`config` of this hook", r.HookConfig)
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(config)) {
		variable, known := into[key]
		if !known {
			return fmt.Errorf("`config.%s` is unknown: known are %q", key, slices.Sorted(maps.Keys(into)))
		}
		if err := json.Unmarshal(config[key], variable); err != nil {
			return fmt.Errorf("`config.%s`: %w", key, err)
		}
	}
	return nil
}

// Outcome is what the plugin answered.
type Outcome struct {
	// Result is nil if it failed, and for verbs that have none.
	Result json.RawMessage `json:"result"`
	// Error is nil if it did not fail.
	Error *CNIError `json:"error"`
}

// Object is Result, ready to be changed; nil when there is none.
func (o Outcome) Object() (Object, error) {
	if o.Result == nil {
		return nil, nil
	}
	return object("the result", o.Result)
}

// CNIError is what a plugin prints when it fails. Codes 1 to 99 are the CNI specification's.
type CNIError struct {
	Code    uint32 `json:"code"`
	Msg     string `json:"msg"`
	Details string `json:"details"`
}

// Object is a JSON object that belongs to somebody else: values that nobody looks at keep their bytes.
type Object map[string]json.RawMessage

func object(what string, text json.RawMessage) (Object, error) {
	var object Object
	if err := json.Unmarshal(text, &object); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return object, nil
}

// Read reads the key's value into a variable, and leaves that alone when the key is absent or null.
func (o Object) Read(key string, into any) error {
	value, there := o[key]
	if !there {
		return nil
	}
	if err := json.Unmarshal(value, into); err != nil {
		return fmt.Errorf("`%s`: %w", key, err)
	}
	return nil
}

// Set puts a value in the key's place.
func (o *Object) Set(key string, value any) error {
	text, err := encode(value)
	if err != nil {
		return fmt.Errorf("`%s`: %w", key, err)
	}
	if *o == nil {
		*o = Object{}
	}
	(*o)[key] = text
	return nil
}
