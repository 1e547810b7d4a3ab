module github.com/wasmhook/wasmhook/examples-wasm/annotate/go

go 1.24

require github.com/wasmhook/wasmhook/sdk/go v0.0.0

replace github.com/wasmhook/wasmhook/sdk/go => ../../../sdk/go
