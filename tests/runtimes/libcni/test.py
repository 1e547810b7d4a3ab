"""Conflists with wasmhook in every place, driven by libcni: what nearly all runtimes call plugins with."""

import json
import os
import re
import socket
import subprocess
from contextlib import contextmanager

from lab import Failed, bridge, check, eventually, left_behind, link, loud, main, mtu, sh, step, wasmhook, write_conflist

NEW = os.environ["E2E_RELEASE"] == "sid"
VERSION = "1.1.0" if NEW else "1.0.0"
SUBNETS = ["10.77.0.0/24", "fd77::/64"]
PORTS = {"portMappings": True}
POLICY = {"module": "policy", "config": {"rules": [{"name": "sandboxes", "podNamespaces": ["sandbox-*"], "deny": "no network for them"}]}}


def libcni(verb, conflist, container, netns=None, namespace="shop", **call):
    """One call of the Go driver: exit status, result, error."""
    netns = f"/run/netns/{container}" if netns is None else netns
    call |= {
        "containerID": container, "netns": netns,
        "args": [["IgnoreUnknown", "1"], ["K8S_POD_NAMESPACE", namespace], ["K8S_POD_NAME", container]],
        "capabilities": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]},
    }
    words = [os.environ["E2E_DRIVER"], verb, str(conflist)]
    done = subprocess.run(words, input=json.dumps(call), capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr.strip()


def well(verb, conflist, container, sentence, **call):
    code, out, error = libcni(verb, conflist, container, **call)
    check(code == 0, sentence, error)
    return out


@contextmanager
def netns(name):
    sh("ip", "netns", "add", name)
    yield
    sh("ip", "netns", "delete", name)


def answers(port, container):
    """Does a connection to the host's port reach this container?"""
    listen = ["ip", "netns", "exec", container, "busybox", "nc", "-ll", "-p", "80", "-e", "echo", container]
    server = subprocess.Popen(listen)

    def ask():
        try:
            with socket.create_connection(("10.77.0.1", port), timeout=2) as connection:
                return connection.recv(100).decode().strip()
        except OSError:
            return ""

    try:
        return eventually(lambda: ask() == container, 5)
    finally:
        server.kill()
        server.wait()


def fault_of_theirs(plugins):
    """What CHECK finds wrong with the same list when we are not in it: a mistake of the plugins, not ours."""
    theirs = [it.get("delegate") if it["type"] == "wasmhook" else it for it in plugins]
    conflist = write_conflist(VERSION, "theirs", [it for it in theirs if it])
    with netns("theirs"):
        code, _, error = libcni("ADD", conflist, "theirs")
        if code:
            raise Failed(f"the list without wasmhook does not work: {error}")
        _, _, error = libcni("CHECK", conflist, "theirs")
        libcni("DEL", conflist, "theirs")
    return error


def check_in_order(conflist, name, plugins):
    theirs = fault_of_theirs(plugins)
    code, _, error = libcni("CHECK", conflist, name)
    if not theirs:
        check(code == 0, "CHECK finds all in order", error)
        return
    anonymous = re.compile(r"CNI-DN-[0-9a-f]+|10\.77\.0\.[0-9]+")
    check(anonymous.sub("", error) == anonymous.sub("", theirs),
          "CHECK says what it says without wasmhook", error, theirs)
    loud(f"which is a mistake of these plugins: {theirs[:60]}…")


def life(name, plugins, mtu_wanted, mapped=False):
    """ADD, CHECK, DEL, DEL again, DEL without namespace, with all that is to be seen of each."""
    conflist = write_conflist(VERSION, name, plugins)
    well("VALIDATE", conflist, name, "all plugins speak the conflist's version")
    with netns(name):
        result = json.loads(well("ADD", conflist, name, "ADD"))
        address = result["ips"][0]["address"]
        own = [it for it in result["interfaces"] if it["name"] == "eth0"]
        check(address.startswith("10.77.0.") and own[0]["sandbox"] == f"/run/netns/{name}",
              f"the result has eth0 in the container, with {address}", result)
        real = link(name)
        check(real["mtu"] == mtu_wanted, f"the real link's MTU is {mtu_wanted}", real)
        check(real["address"] == own[0]["mac"] and real["addr_info"][0]["local"] in address,
              "the real link has the result's MAC and address", real, result)
        if mapped:
            check(answers(8080, name), "port 8080 of the host reaches the container")
        check_in_order(conflist, name, plugins)
        sh("ip", "-n", name, "link", "set", "eth0", "down")
        sh("ip", "-n", name, "address", "flush", "dev", "eth0")
        code, _, error = libcni("CHECK", conflist, name)
        check(code == 1, f"CHECK finds that the address is gone: {error}")
        well("DEL", conflist, name, "DEL")
        check(not left_behind(name), "no link, no lease, no rule is left", left_behind(name))
        well("DEL", conflist, name, "DEL again, which libcni sends without a result")
    well("DEL", conflist, name, "DEL when the namespace is gone", netns="")
    check(not left_behind(name), "still nothing", left_behind(name))


def refused(name, plugins):
    conflist = write_conflist(VERSION, name, plugins)
    with netns(name):
        code, _, error = libcni("ADD", conflist, name, namespace="sandbox-1")
        wanted = f"pod sandbox-1/{name} may not join network {name}: rule \"sandboxes\": no network for them"
        check(code == 1 and wanted in error, f"ADD fails: {error}", error)
        well("DEL", conflist, name, "DEL, as runtimes send it after a failed ADD", namespace="sandbox-1")
        check(not left_behind(name), "no link, no lease, no rule is left", left_behind(name))


def garbage(name):
    """GC, with one of two containers said to be gone; and STATUS."""
    plugins = [wasmhook(mtu(1400), delegate=bridge(*SUBNETS))]
    conflist = write_conflist(VERSION, name, plugins)
    well("STATUS", conflist, "", "STATUS: ready", netns="")
    broken = write_conflist(VERSION, "broken", [wasmhook({"modul": "mtu"}, delegate=bridge(*SUBNETS))])
    code, _, error = libcni("STATUS", broken, "", netns="")
    check(code == 1 and "modul" in error, f"STATUS of an entry with a mistake: {error}", error)
    with netns("here"), netns("gone"):
        well("ADD", conflist, "here", "ADD here")
        well("ADD", conflist, "gone", "ADD gone")
        well("GC", conflist, "", "GC, which says that only `here` is there", netns="", valid=["here"])
        left = [it for it in left_behind(name) if not it.startswith("journal")]
        check(len(left) == 3, f"one link and its two leases are left: {', '.join(left)}", left)
        well("CHECK", conflist, "here", "and it is `here` that has them")
        well("GC", conflist, "", "GC, which says that nobody is there", netns="", valid=[])
        check(not left_behind(name), "nothing is left", left_behind(name))


def test():
    step("1. Wrapped around bridge and host-local: hook `mtu` rewrites what bridge is given")
    life("wrapped", [wasmhook(mtu(1400), delegate=bridge(*SUBNETS))], 1400)
    step("2. Chained behind bridge, without a delegate")
    life("chained", [bridge(*SUBNETS), wasmhook({"module": "identity"})], 1500)
    step("3. Chained behind bridge, and hook `policy` refuses what bridge has made")
    refused("refused", [bridge(*SUBNETS), wasmhook(POLICY)])
    tuning = {"type": "tuning", "sysctl": {"net.ipv4.conf.eth0.arp_filter": "1"}}
    portmap = {"type": "portmap", "capabilities": PORTS}
    step("4. First of three: around bridge; tuning and portmap come after")
    life("first", [wasmhook(mtu(1400), delegate=bridge(*SUBNETS)), tuning, portmap], 1400, mapped=True)
    step("5. In the middle: around tuning, and hook `mtu` makes tuning set the MTU")
    life("middle", [bridge(*SUBNETS), wasmhook(mtu(1300), delegate=tuning), portmap], 1300, mapped=True)
    step("6. Last: around portmap, which gets the runtime's port mappings through us")
    last = wasmhook({"module": "identity"}, id="last", capabilities=PORTS, delegate=portmap)
    life("last", [bridge(*SUBNETS), {**tuning, "mtu": 1350}, last], 1350, mapped=True)
    step("7. Everywhere at once")
    life("everywhere", [wasmhook(POLICY, mtu(1400), delegate=bridge(*SUBNETS)), wasmhook({"module": "identity"}, id="second"),
                        wasmhook(mtu(1290), id="third", delegate=tuning), last], 1290, mapped=True)
    step("8. GC and STATUS")
    if NEW:
        garbage("garbage")
    else:
        code, _, error = libcni("STATUS", write_conflist(VERSION, "old", [bridge(*SUBNETS)]), "", netns="")
        if code == 0:
            raise Failed("this libcni knows STATUS: test it")
        loud(f"NOT TESTED HERE: {error}; `libcni@sid` tests them")


main(test)
