package wasmhook

import (
	"errors"
	"strings"
	"testing"
)

const request = `{"phase":"PHASE","verb":"ADD","config":{"b":1.50,"a":"<"},"hookConfig":{"mtu":1400},"carry":7,
	"new":[],"outcome":{"error":{"code":7,"msg":"no","details":"d"}}}`

func said(t *testing.T, hook Hook, phase string) string {
	t.Helper()
	text, err := answer(hook, strings.NewReader(strings.Replace(request, "PHASE", phase, 1)))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

func same(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

func TestAHookThatWantsNothingChangesNothing(t *testing.T) {
	same(t, said(t, Hook{}, "pre"), `{"verdict":"proceed"}`)
	same(t, said(t, Hook{}, "post"), `{"verdict":"keep"}`)
}

func TestEveryVerdictIsPrintedAsTheSchemaHasIt(t *testing.T) {
	result := Object{"ips": []byte("[]")}
	for want, verdict := range map[string]Pre{
		`{"verdict":"proceed"}`:                                                 {},
		`{"verdict":"answer","result":{"ips":[]}}`:                              Answer(result),
		`{"verdict":"rewrite","config":{"ips":[]}}`:                             RewriteConfig(result),
		`{"verdict":"deny","error":{"code":100,"msg":"no \"x\"","details":""}}`: Deny(100, `no "x"`),
	} {
		same(t, said(t, Hook{Pre: func(*Request) (Pre, error) { return verdict, nil }}, "pre"), want)
	}
	for want, verdict := range map[string]Post{
		`{"verdict":"keep"}`:                                            {},
		`{"verdict":"recover","result":{"ips":[]}}`:                     Recover(result),
		`{"verdict":"rewrite","result":{"ips":[]}}`:                     RewriteResult(result),
		`{"verdict":"fail","error":{"code":7,"msg":"no","details":""}}`: Fail(7, "no"),
	} {
		same(t, said(t, Hook{Post: func(*Request, Outcome) (Post, error) { return verdict, nil }}, "post"), want)
	}
}

func TestAConfigurationKeepsWhatIsNotTouched(t *testing.T) {
	same(t, said(t, Hook{Pre: func(request *Request) (Pre, error) {
		config, err := request.Object()
		if err != nil {
			return Pre{}, err
		}
		err = config.Set("mtu", 1400)
		return RewriteConfig(config), err
	}}, "pre"), `{"verdict":"rewrite","config":{"a":"<","b":1.50,"mtu":1400}}`)
}

func TestPostSeesTheErrorAndWhatPreLeft(t *testing.T) {
	said(t, Hook{Post: func(request *Request, outcome Outcome) (Post, error) {
		same(t, string(request.Carry), "7")
		same(t, outcome.Error.Msg+outcome.Error.Details, "nod")
		if result, err := outcome.Object(); result != nil || err != nil {
			t.Error(result, err)
		}
		return Keep(), nil
	}}, "post")
}

func TestSettingsRefuseAKeyThatNobodyKnows(t *testing.T) {
	var mtu int
	request := Request{HookConfig: []byte(`{"mtu":1400}`)}
	if err := request.Settings(map[string]any{"mtu": &mtu}); err != nil || mtu != 1400 {
		t.Error(mtu, err)
	}
	err := request.Settings(map[string]any{"MTU": &mtu})
	if err == nil || !strings.HasPrefix(err.Error(), "`config.mtu` is unknown") {
		t.Error(err)
	}
}

func TestAnErrorOfTheHookIsNoVerdict(t *testing.T) {
	broken := errors.New("broken")
	hook := Hook{Pre: func(*Request) (Pre, error) { return Pre{}, broken }}
	if _, err := answer(hook, strings.NewReader(`{"phase":"pre"}`)); !errors.Is(err, broken) {
		t.Error(err)
	}
}
