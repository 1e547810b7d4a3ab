#!/usr/bin/env bash
# Builds every example hook: examples-wasm/build.sh OUTPUT-DIRECTORY
#
# With a rustup that has the target wasm32-unknown-unknown that is all it takes. Where it has not and cannot fetch it
# (an offline machine), Debian's rustc and the source of its standard library are installed and the target's
# standard library is built once: root, apt, about two minutes.
set -euo pipefail
cd "$(dirname "$0")"
out=${1:?output directory}
target=wasm32-unknown-unknown
sysroot=$(rustc --print sysroot)
host=$(rustc -vV | sed -n 's/^host: //p')
# Lives in rustup's toolchain; makes a component of what it links.
export PATH="$PATH:$sysroot/lib/rustlib/$host/bin"
export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-component-ld

debian_rustc() {
    local missing=() package
    for package in rustc-web rust-web-src; do
        dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        echo "installing ${missing[*]} (this rustup has no target $target)"
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=180 install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
    fi
    local version lib bin seed name rlib
    version=$(/usr/bin/rustc -V)
    lib=/usr/lib/rustlib/$target/lib
    bin=/usr/lib/rustlib/$host/bin
    mkdir -p "$bin"
    for name in rust-lld wasm-component-ld gcc-ld; do
        ln -sfn "$sysroot/lib/rustlib/$host/bin/$name" "$bin/$name"
    done
    [ "$(cat "$lib/.built-by" 2>/dev/null)" = "$version" ] && return
    echo "building the standard library for $target with $version"
    seed=$(mktemp -d)
    mkdir -p "$seed/src"
    : >"$seed/src/lib.rs"
    cat >"$seed/Cargo.toml" <<'TOML'
[package]
name = "seed"
version = "0.0.0"
edition = "2021"
[profile.release]
debug = 0
panic = "abort"
[workspace]
TOML
    # RUSTC_BOOTSTRAP: building std is not a stable feature, only its result is wanted.
    (cd "$seed" && RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc RUSTFLAGS=-Cembed-bitcode=yes CARGO_TARGET_DIR="$seed/target" \
        cargo build -q --release -Zbuild-std=std,panic_abort --target "$target")
    rm -rf "$lib"
    mkdir -p "$lib"
    for rlib in "$seed/target/$target"/release/deps/*.rlib; do
        case $rlib in */libseed*) ;; *) cp "$rlib" "$lib/" ;; esac
    done
    echo "$version" >"$lib/.built-by"
    # What was built against another std is useless, and cargo would not notice.
    rm -rf "target/$target"
    rm -rf "$seed"
}

if [ ! -d "$sysroot/lib/rustlib/$target" ]; then
    debian_rustc
    export RUSTC=/usr/bin/rustc
fi
cargo build -q --release --locked --target "$target"
mkdir -p "$out"
for manifest in */Cargo.toml */rust/Cargo.toml; do
    # What hooks share is no hook.
    grep -q cdylib "$manifest" || continue
    hook=${manifest%%/*}
    install -m 0644 "target/$target/release/${hook//-/_}.wasm" "$out/$hook.wasm"
done
