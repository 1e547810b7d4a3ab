#!/usr/bin/env bash
# The main job, shown: containers get their network from hooks alone. No other plugin is needed: what `bridge` and
# `host-local` would do, a sandboxed module does through granted host functions.
#
# Everything happens in namespaces of our own, on file systems in memory: when this script ends, however it ends, the
# kernel takes them back. Plays the runtime itself, as containerd and libcni do.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)

if [ "${1:-}" != inside ]; then
    [ "$(id -u)" = 0 ] || { echo "the demo makes network namespaces: run it as root" >&2; exit 1; }
    # A pid namespace, so that Ctrl-C ends everything in it.
    exec unshare --mount --net --pid --fork --kill-child --mount-proc --propagation private bash "$0" inside
fi

mount -t tmpfs tmpfs /run
demo=/run/wasmhook-demo
mkdir -p "$demo" /run/netns
ip link set lo up
conflist=$root/docs/demo/10-demo.conflist
export WASMHOOK_CONFIG=$demo/config.toml
cat >"$WASMHOOK_CONFIG" <<TOML
modules = ["$root/dist/hooks"]
state = "$demo/state"
compiled = "$demo/compiled"
compiler = "$root/dist/wasmhookctl"
TOML

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\e[1m' faint=$'\e[2m' green=$'\e[32m' red=$'\e[31m' off=$'\e[0m'
else bold='' faint='' green='' red='' off=''; fi
step() { echo; echo "$bold$*$off"; }
show() { sed "s/^/    $faint/;s/\$/$off/"; }
good() { echo "  $green✓$off $*"; }
fail() { echo "  $red✗ $*$off" >&2; exit 1; }

# cni VERB CONTAINER [NAMESPACE] [RESULT]: what a runtime does with the first plugin of the list.
cni() {
    local verb=$1 id=$2 namespace=${3:-shop} result=${4:-null}
    jq -c --argjson result "$result" '. as $list | .plugins[0]
        + {cniVersion: $list.cniVersion, name: $list.name}
        + if $result == null then {} else {prevResult: $result} end' "$conflist" |
        CNI_COMMAND=$verb CNI_CONTAINERID=$id CNI_NETNS=/run/netns/$id CNI_IFNAME=eth0 \
            CNI_PATH=$root/dist CNI_ARGS="IgnoreUnknown=1;K8S_POD_NAMESPACE=$namespace;K8S_POD_NAME=web" "$root/dist/wasmhook"
}

declare -A results
add() {
    ip netns add "$1"
    results[$1]=$(cni ADD "$1" "${2:-shop}") || fail "ADD $1: ${results[$1]}"
    good "$1 has $(jq -r '.ips[0].address' <<<"${results[$1]}"), MTU $(ip -j -n "$1" link show eth0 | jq '.[0].mtu')"
}

step "1. The network: four hooks, of which the last one does the work, and no other plugin"
jq -c '.plugins[0].hooks[]' "$conflist" | show
"$root/dist/wasmhookctl" validate "$conflist" >/dev/null || fail "the conflist has mistakes"
"$root/dist/wasmhookctl" compile policy fault mtu bridge

step "2. Two containers come up, with the MTU that the hook \`mtu\` gave \`bridge\`"
add demo-a
add demo-b
address=$(jq -r '.ips[0].address | split("/")[0]' <<<"${results[demo-b]}")
ip netns exec demo-a ping -c1 -W2 "$address" | sed -n 2p | show
good "demo-a reaches demo-b"
ip netns exec demo-a ping -c1 -W2 10.88.0.1 >/dev/null || fail "demo-a does not reach its gateway"
good "and the gateway, which is the bridge demo0"

step "3. A pod of a sandbox namespace is refused by the hook \`policy\`; this is what \`kubectl describe pod\` shows"
ip netns add demo-c
if answer=$(cni ADD demo-c sandbox-7); then fail "it was let in: $answer"; fi
jq -r .msg <<<"$answer" | show
good "and nothing was made for it: $(ip -o link show type veth | wc -l) veths for 2 containers"

step "4. One of a namespace that wants it meets an injected fault, and comes up when the kubelet tries again (with a new container id)"
ip netns add demo-d1
if answer=$(cni ADD demo-d1 chaos-lab 2>/dev/null); then fail "no fault was injected: $answer"; fi
jq -c '{code, msg}' <<<"$answer" | show
add demo-d2 chaos-lab

step "5. What is held, from the journals of these ADDs: what is killed half-way is taken back by them"
"$root/dist/wasmhookctl" attachments | show

step "6. DEL: everything is given back"
for id in demo-a demo-b demo-c demo-d1 demo-d2; do
    answer=$(cni DEL "$id" shop "${results[$id]:-null}" 2>/dev/null) || fail "DEL $id: $answer"
done
links=$(ip -o link show type veth | wc -l)
leases=$(find "$demo/leases/demo" -name '10.*' | wc -l)
journals=$(find "$demo/state/journal" -type f | wc -l)
tables=$(nft list tables | wc -l)
[ "$links" = 0 ] && [ "$leases" = 0 ] && [ "$journals" = 0 ] && [ "$tables" = 0 ] ||
    fail "left behind: $links links, $leases leases, $journals journals, $tables tables of rules"
good "0 links, 0 leases, 0 journals, 0 tables of rules left; the bridge stays, for others"
echo
