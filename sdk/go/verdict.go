package wasmhook

// verdict is the document that is printed.
type verdict struct {
	Verdict string    `json:"verdict"`
	Config  any       `json:"config,omitempty"`
	Result  any       `json:"result,omitempty"`
	Error   *CNIError `json:"error,omitempty"`
}

// Pre is what a hook wants before the plugin; the zero value is Proceed.
type Pre struct{ verdict verdict }

// Proceed goes on with the configuration as it is.
func Proceed() Pre { return Pre{} }

// RewriteConfig goes on with this configuration. name, cniVersion, type and cni.dev/* must be unchanged.
func RewriteConfig(config any) Pre { return Pre{verdict{Verdict: "rewrite", Config: config}} }

// Answer does not run the plugin: this is its result.
func Answer(result any) Pre { return Pre{verdict{Verdict: "answer", Result: result}} }

// Deny does not run the plugin: the call fails with this code, 100 and up are free, and this sentence.
func Deny(code uint32, msg string) Pre {
	return Pre{verdict{Verdict: "deny", Error: &CNIError{Code: code, Msg: msg}}}
}

func (p Pre) document() verdict {
	if p.verdict.Verdict == "" {
		return verdict{Verdict: "proceed"}
	}
	return p.verdict
}

// Post is what a hook wants after the plugin; the zero value is Keep.
type Post struct{ verdict verdict }

// Keep leaves the outcome as it is.
func Keep() Post { return Post{} }

// RewriteResult puts this result in the place of the plugin's.
func RewriteResult(result any) Post { return Post{verdict{Verdict: "rewrite", Result: result}} }

// Fail makes the call fail after all; what was done is undone.
func Fail(code uint32, msg string) Post {
	return Post{verdict{Verdict: "fail", Error: &CNIError{Code: code, Msg: msg}}}
}

// Recover puts this result in the place of the plugin's error.
func Recover(result any) Post { return Post{verdict{Verdict: "recover", Result: result}} }

func (p Post) document() verdict {
	if p.verdict.Verdict == "" {
		return verdict{Verdict: "keep"}
	}
	return p.verdict
}
