module github.com/wasmhook/wasmhook/sdk/go

go 1.24
