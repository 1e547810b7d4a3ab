"""Adds a search domain to what containers get for name service, and refuses those that want certain host ports:
`annotate` in Python. What it does stands in the Rust one (`../rust`).

`wit_world` is made by componentize-py from the contract. Everything that is imported must be imported here, at the top:
what is loaded while the component is built is there at once when it runs.
"""

import json
from functools import wraps

from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.imports import log
from wit_world.imports.types import (
    CniError,
    PostVerdict_Keep,
    PostVerdict_Rewrite,
    PreVerdict_Deny,
    PreVerdict_Proceed,
)


def in_words(function):
    """An exception would be a bare trap; as an `Err` it says why the hook is broken."""

    @wraps(function)
    def wrapped(*arguments):
        try:
            return function(*arguments)
        except Exception as error:
            raise Err(f"{error or type(error).__name__}") from error

    return wrapped


def is_port(value):
    # True is an int in Python.
    return type(value) is int and 0 <= value <= 65535


def expect(holds, what):
    if not holds:
        raise ValueError(what)


def settings(req):
    config = json.loads(req.hook_config)
    expect(isinstance(config, dict), "`config` of this hook: not an object")
    for key in config.keys() - {"search", "forbiddenPorts"}:
        expect(False, f"`config.{key}` is unknown: write `search` or `forbiddenPorts`")
    search, forbidden = config.get("search"), config.get("forbiddenPorts") or []
    expect(search is None or isinstance(search, str), "`config.search`: not a string")
    expect(isinstance(forbidden, list) and all(map(is_port, forbidden)), "`config.forbiddenPorts`: not a list of ports")
    return search, forbidden


def host_ports(config):
    """podman writes `hostPort`, containerd `HostPort`."""
    mappings = (config.get("runtimeConfig") or {}).get("portMappings") or []
    ports = [it.get("hostPort", it.get("HostPort")) for it in mappings]
    ports = [it for it in ports if it is not None]
    expect(all(map(is_port, ports)), "`runtimeConfig.portMappings`: a host port that is none")
    return ports


class Handler(exports.Handler):
    @in_words
    def pre(self, req):
        _, forbidden = settings(req)
        wanted = host_ports(json.loads(req.config)) if req.verb == "ADD" else []
        for port in wanted:
            if port in forbidden:
                log.write(log.Level.INFO, f"refused host port {port}", [])
                return PreVerdict_Deny(CniError(100, f"host port {port} is not allowed here", ""))
        return PreVerdict_Proceed()

    @in_words
    def post(self, req, got):
        search, _ = settings(req)
        if req.verb != "ADD" or search is None or not isinstance(got, Ok) or not got.value:
            return PostVerdict_Keep()
        result = json.loads(got.value)
        dns = result["dns"] = result.get("dns") or {}
        domains = dns["search"] = dns.get("search") or []
        if search in domains:
            return PostVerdict_Keep()
        domains.append(search)
        return PostVerdict_Rewrite(json.dumps(result))
