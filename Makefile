# Each target installs what it needs (Debian packages, as root) and is quick the second time.
SHELL := /bin/bash
.DEFAULT_GOAL := help

HOST := $(shell rustc -vV | sed -n 's/^host: //p')
# The plugin is linked against musl: glibc asks the processor what it can do whenever a program starts, which a virtual
# machine answers slowly (0.17 ms, a third of a call). Where rustup cannot fetch that target, or musl's C compiler
# (SQLite's) is missing and cannot be installed, it is glibc after all.
MUSL := $(HOST:-gnu=-musl)
TARGET := $(shell { command -v musl-gcc || { [ "$$(id -u)" = 0 ] && command -v apt-get; }; } >/dev/null && \
	{ rustup target list --installed | grep -qx $(MUSL) || rustup target add $(MUSL); } >/dev/null 2>&1 && echo $(MUSL) || echo $(HOST))
# What a call runs through stands together in the program, which saves a quarter of its page faults (`make order`). By
# the linker that Rust brings; symbols that are not there any more are passed over.
ifeq ($(HOST),x86_64-unknown-linux-gnu)
LLD := $(shell rustc --print sysroot)/lib/rustlib/$(HOST)/bin/gcc-ld
ORDER := -C link-arg=-fuse-ld=lld -C link-arg=-B$(LLD) -C link-arg=-Wl,--symbol-ordering-file=proxy/plugin/order.txt -C link-arg=-Wl,--no-warn-symbol-ordering
endif
# Static and not relocated: nothing to link or relocate when a runtime starts us.
# Random seeds come from the system call: a guest's child has no files.
FLAGS := -C target-feature=+crt-static -C relocation-model=static --cfg getrandom_backend=\"linux_getrandom\"
BUILD := cargo build --quiet --locked
STATIC := RUSTFLAGS="$(FLAGS)" $(BUILD) --target $(HOST)
PLUGIN := RUSTFLAGS="$(FLAGS) $(ORDER)" CC_$(subst -,_,$(MUSL))=musl-gcc $(BUILD) --target $(TARGET)
OUT := target/$(HOST)
PLUGIN_OUT := target/$(TARGET)
PACKAGES := containernetworking-plugins e2fsprogs iproute2 iptables iputils-ping jq nftables
# What the demo needs of them: no plugin.
DEMO_PACKAGES := iproute2 iputils-ping jq nftables
TOOLS := target/tools
NEXTEST := $(shell cargo nextest --version >/dev/null 2>&1 && echo nextest run || echo test)

.PHONY: help
help: ## Show this
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Copied, not stripped in place: a file that was written in one go costs fewer page faults.
.PHONY: build
build: build-packages ## dist/wasmhook (the plugin) and dist/wasmhookctl
	@mkdir -p dist
	@[ $(TARGET) = $(MUSL) ] || echo "WITHOUT musl (no target $(MUSL), or no musl-gcc): calls take up to a third longer"
	@echo "building wasmhook (the first time takes minutes: wasmtime, with link-time optimisation)"
	@$(PLUGIN) --release -p wasmhook
	@strip -o $(PLUGIN_OUT)/wasmhook $(PLUGIN_OUT)/release/wasmhook
	@install -m 0755 $(PLUGIN_OUT)/wasmhook dist/
	@echo "building wasmhookctl (with the compiler)"
	@$(STATIC) --profile tool -p wasmhookctl
	@strip -o $(OUT)/wasmhookctl $(OUT)/tool/wasmhookctl
	@install -m 0755 $(OUT)/wasmhookctl dist/

.PHONY: hooks
hooks: ## dist/hooks/*.wasm, every example
	@examples-wasm/build.sh $(CURDIR)/dist/hooks

.PHONY: guests
guests: ## dist/hooks/annotate-*.wasm: the same hook in C, Go and JavaScript (installs their compilers into target/)
	@examples-wasm/build-languages.sh $(CURDIR)/dist/hooks

.PHONY: guests-all
guests-all: packages build hooks ## The same in Python and AssemblyScript too, and the tests of all
	@examples-wasm/build-languages.sh $(CURDIR)/dist/hooks all
	cargo $(NEXTEST) --locked -p wasmhook-tests --features all-languages --test languages

.PHONY: packages build-packages demo-packages
build-packages: PACKAGES := $(if $(filter $(MUSL),$(TARGET)),$(if $(shell command -v musl-gcc),,musl-tools))
demo-packages: PACKAGES := $(DEMO_PACKAGES)
packages build-packages demo-packages:
	@missing=; for package in $(PACKAGES); do dpkg -s $$package >/dev/null 2>&1 || missing="$$missing $$package"; done; \
	if [ -n "$$missing" ]; then \
		echo "installing$$missing"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=180 \
			install -qq -y --no-install-recommends $$missing >/dev/null; \
	fi

.PHONY: demo
demo: demo-packages build hooks ## Containers get their network through hooks, in private namespaces
	@docs/demo/demo.sh

.PHONY: test
test: packages build hooks guests ## Unit, documentation and end-to-end tests (root: they make network namespaces)
	@[ "$$(id -u)" = 0 ] || { echo "the end-to-end tests make network namespaces: run them as root" >&2; exit 1; }
	cargo $(NEXTEST) --locked --workspace --features wasmhook/escape
	cargo test --quiet --locked --doc --workspace
	cd examples-wasm && cargo test --quiet --locked --lib

.PHONY: e2e
e2e: packages build hooks ## The plugin under real runtimes: libcni, containerd (root; a minute, installs them)
	@tests/runtimes/run

.PHONY: fuzz
fuzz: ## Inputs that nobody thought of, T=60 seconds for each kind (a nightly Rust; the first time takes minutes)
	@[ -x $(TOOLS)/bin/cargo-fuzz ] || { echo "installing cargo-fuzz"; \
		cargo install --quiet --locked --version 0.13.2 --root $(TOOLS) cargo-fuzz; }
	@tests/fuzz/run $(or $(T),60)

.PHONY: lint
lint: ## Format and clippy, with warnings denied
	cargo fmt --all --check
	cd examples-wasm && cargo fmt --all --check
	cd tests/fuzz && cargo fmt --check
	cargo clippy --quiet --locked --workspace --all-targets --features wasmhook/escape,wasmhook-tests/all-languages -- -D warnings
	cd examples-wasm && cargo clippy --quiet --locked --all-targets -- -D warnings

.PHONY: deny
deny: ## Licences and sources of all dependencies; advisories where their database can be reached
	@[ -x $(TOOLS)/bin/cargo-deny ] || { echo "installing cargo-deny (minutes)"; \
		cargo install --quiet --locked --version 0.20.2 --root $(TOOLS) cargo-deny; }
	$(TOOLS)/bin/cargo-deny --workspace check licenses sources bans
	$(TOOLS)/bin/cargo-deny --manifest-path examples-wasm/Cargo.toml --config deny.toml --workspace check --allow license-not-encountered licenses sources bans
	@if $(TOOLS)/bin/cargo-deny --workspace fetch db >/dev/null 2>&1; \
	then $(TOOLS)/bin/cargo-deny --workspace check advisories; \
	else echo "NOT CHECKED: security advisories, their database cannot be reached from here"; fi

.PHONY: check
check: lint test deny ## All of it: what a change must pass

.PHONY: bench
bench: packages build hooks ## What a call costs, as ratios against real programs in the same run
	@$(STATIC) --profile tool -p wasmhook-tests
	@install -m 0755 $(OUT)/tool/floor dist/
	@$(OUT)/tool/bench

.PHONY: order
order: build hooks ## Write down anew which functions a call runs through (needs valgrind)
	@tests/order $(PLUGIN_OUT)/release/wasmhook dist/wasmhookctl dist/hooks/identity.wasm >proxy/plugin/order.txt
	@wc -l proxy/plugin/order.txt
	@touch proxy/plugin/src/main.rs # it is linked anew

.PHONY: clean
clean: ## Remove everything that was built
	rm -rf target dist examples-wasm/target
