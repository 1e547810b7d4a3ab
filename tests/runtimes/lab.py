"""What the tests of all runtimes share: telling what is done and checked, and looking at the node."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

NODE = Path("/run/e2e")
NET_D = NODE / "net.d"
COLOUR = sys.stdout.isatty() and not os.environ.get("NO_COLOR")


class Failed(Exception):
    """A check failed; the test ends."""


def paint(code, text):
    return f"\x1b[{code}m{text}\x1b[0m" if COLOUR else text


def step(text):
    print(f"\n{paint(1, text)}")


def check(holds, sentence, *found):
    """`found` is printed when it does not hold."""
    if not holds:
        raise Failed("\n".join([f"not so: {sentence}", *(f"    {it}" for it in found)]))
    print(f"  {paint(32, '✓')} {sentence}")


def loud(text):
    print(f"  {paint(33, '!')} {text}")


def main(test, log=None):
    """Runs a test; on the first failed check it ends with what this log holds of warnings, and the check's words."""
    try:
        test()
    except Failed as failure:
        if log and log.exists():
            told = [it for it in log.read_text().splitlines() if "level=info" not in it]
            print(f"\nthe end of {log}:", *told[-10:], sep="\n    ", file=sys.stderr)
        print(f"  {paint(31, '✗')} {failure}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def sh(*words, stdin=""):
    """A command's stdout; a failing one ends the test."""
    done = subprocess.run(words, input=stdin, capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"{' '.join(words)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def wasmhookctl(*words):
    return sh(str(Path(__file__).parents[2] / "dist" / "wasmhookctl"), *words)


def eventually(look, seconds=10):
    """Looks until there is something to see; what was seen last."""
    end = time.monotonic() + seconds
    while not (seen := look()) and time.monotonic() < end:
        time.sleep(0.05)
    return seen


def write_conflist(version, name, plugins):
    """A conflist's path. It is written in place: containerd 1.6 does not notice a file that is moved there."""
    path = NET_D / f"10-{name}.conflist"
    path.write_text(json.dumps({"cniVersion": version, "name": name, "plugins": plugins}, indent=2))
    return path


def bridge(*subnets, ipam="host-local"):
    return {
        "type": "bridge", "bridge": "e2e0", "isGateway": True, "hairpinMode": True,
        "ipam": {"type": ipam, "ranges": [[{"subnet": it}] for it in subnets], "routes": [{"dst": "0.0.0.0/0"}]},
    }


def wasmhook(*hooks, **rest):
    return {"type": "wasmhook", "hooks": list(hooks), **rest}


def mtu(value):
    return {"module": "mtu", "grants": ["carry"], "config": {"mtu": value}}


def link(netns, name="eth0"):
    return json.loads(sh("ip", "-j", "-n", netns, "address", "show", "dev", name))[0]


def left_behind(network):
    """All of pods' networks that is on the node: host links, leases, rules, journals."""
    links = [it["ifname"] for it in json.loads(sh("ip", "-j", "link", "show", "type", "veth"))]
    leases = [it.name for it in Path("/var/lib/cni/networks", network).glob("[0-9a-f]*")]
    rules = [it for it in sh("iptables-save").splitlines() if "CNI-DN-" in it or "CNI-SN-" in it]
    journals = [it.name for it in Path("/var/lib/wasmhook/state/journal").glob("*")]
    kinds = {"link": links, "lease": sorted(leases), "rule": rules, "journal": journals}
    return [f"{kind} {it}" for kind, those in kinds.items() for it in those]


class Hold:
    """From now on this slow plugin stops in the middle of an ADD: `before` or `after` its work."""

    def __init__(self, plugin, when):
        self.path = NODE / "hold" / f"{plugin}.{when}"
        self.what = f"{plugin} {'has begun' if when == 'before' else 'has done its work'} and does not answer"
        self.path.touch()

    def wait(self):
        check(eventually((self.path.parent / f"{self.path.name}.waits").exists), self.what)

    def release(self):
        self.path.unlink()
        (self.path.parent / f"{self.path.name}.waits").unlink()


def seen(plugin, verb, container):
    """What a slow plugin was given at this call."""
    return json.loads((NODE / "seen" / f"{plugin}-{verb}-{container}").read_text())
