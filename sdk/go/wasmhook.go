// Package wasmhook is what a wasmhook hook in Go links.
//
//	func main() {
//		wasmhook.Run(wasmhook.Hook{Pre: func(request *wasmhook.Request) (wasmhook.Pre, error) {
//			config, err := request.Object()
//			if err != nil {
//				return wasmhook.Pre{}, err
//			}
//			err = config.Set("mtu", 1400)
//			return wasmhook.RewriteConfig(config), err
//		}})
//	}
//
// Such a hook is a command: GOOS=wasip1 GOARCH=wasm go build. It is run once before the plugin (Pre) and once after it
// (Post), and nothing is left in memory in between: SetCarry leaves a value. An error or a panic says that the hook is
// broken, and the operator's onFailure decides; to refuse a container, return Deny. What goes to stderr goes to
// wasmhook's log, and so does Log, with a level.
//
// The documents that go in and out are described in sdk/command.schema.json.
package wasmhook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
)

// Hook is what a hook wants to do. A function that is left out changes nothing.
type Hook struct {
	// Pre runs before the plugin.
	Pre func(*Request) (Pre, error)
	// Post runs after the plugin, with what it answered.
	Post func(*Request, Outcome) (Post, error)
}

// Run reads the request, asks the hook and prints its verdict. It does not return when the hook is broken.
func Run(hook Hook) {
	defer func() {
		if panicked := recover(); panicked != nil {
			os.Stderr.Write(debug.Stack())
			broken(fmt.Errorf("panic: %v", panicked))
		}
	}()
	verdict, err := answer(hook, os.Stdin)
	if err == nil {
		_, err = os.Stdout.Write(verdict)
	}
	if err != nil {
		broken(err)
	}
}

// The last line on stderr is the reason.
func broken(err error) {
	fmt.Fprintln(os.Stderr, strings.Join(strings.Fields(err.Error()), " "))
	os.Exit(1)
}

func answer(hook Hook, stdin io.Reader) ([]byte, error) {
	text, err := io.ReadAll(stdin)
	if err != nil {
		return nil, err
	}
	var asked struct {
		Request
		Phase   string  `json:"phase"`
		Outcome Outcome `json:"outcome"`
	}
	if err := json.Unmarshal(text, &asked); err != nil {
		return nil, fmt.Errorf("the request: %w", err)
	}
	switch asked.Phase {
	case "pre":
		if hook.Pre == nil {
			return encode(Proceed().document())
		}
		wanted, err := hook.Pre(&asked.Request)
		if err != nil {
			return nil, err
		}
		return encode(wanted.document())
	case "post":
		if hook.Post == nil {
			return encode(Keep().document())
		}
		wanted, err := hook.Post(&asked.Request, asked.Outcome)
		if err != nil {
			return nil, err
		}
		return encode(wanted.document())
	}
	return nil, fmt.Errorf("phase %q: neither pre nor post", asked.Phase)
}

// JSON without the escapes that json.Marshal adds for HTML's sake.
func encode(value any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), err
}

// Failure is a host call that did not succeed.
type Failure struct {
	// Code is what to act on, such as "denied".
	Code string `json:"code"`
	// Errno is Linux's number, 0 when there is none.
	Errno int `json:"errno"`
	// Message is for people.
	Message string `json:"message"`
}

func (f *Failure) Error() string { return f.Code + ": " + f.Message }

// Call performs an operation of the host, such as "clock.now-ns": interface and function of sdk/wit/deps/host/host.wit.
// input holds the function's parameters by their names there; what it returns is read into output, if that is not nil.
// The error is a *Failure when the host says no.
func Call(operation string, input, output any) error {
	call, err := encode(struct {
		Operation string `json:"operation"`
		Input     any    `json:"input"`
	}{operation, input})
	if err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	var reply struct {
		Ok      json.RawMessage `json:"ok"`
		Failure *Failure        `json:"failure"`
	}
	if err := json.Unmarshal(perform(call), &reply); err != nil {
		return fmt.Errorf("%s: the host's reply: %w", operation, err)
	}
	if reply.Failure != nil {
		return reply.Failure
	}
	if output == nil {
		return nil
	}
	return json.Unmarshal(reply.Ok, output)
}

// Level is how much a line of the log matters.
type Level string

// The levels.
const (
	Trace Level = "trace"
	Debug Level = "debug"
	Info  Level = "info"
	Warn  Level = "warn"
	Error Level = "error"
)

// Log writes a line to wasmhook's log, with fields: key, value, key, value. Every hook may.
func Log(level Level, message string, fields ...string) {
	pairs := [][2]string{}
	for len(fields) > 1 {
		pairs = append(pairs, [2]string{fields[0], fields[1]})
		fields = fields[2:]
	}
	// There is nobody to tell if even this fails.
	_ = Call("log.write", map[string]any{"level": level, "message": message, "fields": pairs}, nil)
}

// SetCarry leaves a value, at most 64 KiB as JSON, that Post finds in Request.Carry. Needs the grant carry.
func SetCarry(value any) error {
	text, err := encode(value)
	if err != nil {
		return fmt.Errorf("carry.set: %w", err)
	}
	return Call("carry.set", map[string]any{"json": string(text)}, nil)
}
