//! The real kernel, in namespaces of each test's own. Root.

#![allow(clippy::unwrap_used, reason = "panicking is how a test speaks")]

use nix::sched::{CloneFlags, unshare};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use wasmhook_net::Kernel;
use wasmhook_net_types::{
    Action, Address, Chain, ChainKind, ChildSpec, Cidr, Family, Hook, LinkChange, LinkKind, LinkSpec,
    MacvlanMode, Neighbour, NetError, Network, Offload, PeerSpec, Place, Policy, Port, Route, RouteFilter,
    Rule, Ruleset, TapMode, TapSpec, Test, VlanSpec, VxlanSpec,
};

const HOST: Place = Place::Host;
const CONTAINER: Place = Place::Container;

/// A host's namespace, in which the caller is from now on, and a container's.
fn networks() -> (Kernel, OwnedFd) {
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    let (sender, namespace) = channel();
    std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        sender.send(File::open("/proc/thread-self/ns/net").unwrap()).unwrap();
    });
    let container: OwnedFd = namespace.recv().unwrap().into();
    let mut kernel = Kernel::new(Some(container.try_clone().unwrap()));
    kernel.wait_until(Instant::now() + Duration::from_secs(30));
    (kernel, container)
}

/// A command in the container.
fn inside(container: &OwnedFd, command: &str) -> String {
    let container = container.try_clone().unwrap();
    let command = command.to_owned();
    let run = move || {
        nix::sched::setns(&container, CloneFlags::CLONE_NEWNET).unwrap();
        shell(&command)
    };
    std::thread::spawn(run).join().unwrap()
}

fn shell(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn spec(name: &str, kind: LinkKind) -> LinkSpec {
    LinkSpec::new(name, kind)
}

fn bridge(name: &str) -> LinkSpec {
    LinkSpec::bridge(name).up()
}

/// From the host into the container.
fn veth(name: &str, peer: &str) -> LinkSpec {
    LinkSpec::veth(name, peer).up()
}

/// To be used at once.
fn address(text: &str) -> Address {
    Address { no_dad: true, ..Address::from(text.parse::<Cidr>().unwrap()) }
}

fn tap(name: &str) -> TapSpec {
    TapSpec::new(name)
}

#[test]
fn a_veth_is_born_with_its_end_in_the_container() {
    let (mut kernel, _) = networks();
    kernel.create_link(HOST, &bridge("br0"), "").unwrap();
    let spec = LinkSpec {
        mtu: Some(1400),
        mac: Some("02:00:00:00:00:01".parse().unwrap()),
        master: Some("br0".into()),
        port: Some(Port { hairpin: Some(true), isolated: Some(true), learning: Some(false), vlans: vec![] }),
        ..veth("veth1", "eth0")
    };
    let link = kernel.create_link(HOST, &spec, "wasmhook-0123456789abcdef-1").unwrap();
    assert_eq!((link.name.as_str(), link.kind.as_str(), link.mtu, link.up), ("veth1", "veth", 1400, true));
    assert_eq!((link.mac.as_str(), link.master.as_deref()), ("02:00:00:00:00:01", Some("br0")));
    assert_eq!(link.port, spec.port);
    let inside = kernel.link(CONTAINER, "wasmhook-0123456789abcdef-1").unwrap();
    assert_eq!((inside.name.as_str(), inside.mtu, inside.up, inside.running), ("eth0", 1400, true, true));
    assert_eq!(inside.parent_index, Some(link.index));
    assert_eq!(link.alternative_names, ["wasmhook-0123456789abcdef-1"]);
    let links = kernel.links(HOST).unwrap();
    let names: Vec<_> = links.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["lo", "br0", "veth1"]);
    assert_eq!(links[2].master.as_deref(), Some("br0"));
    kernel.delete_link(HOST, "wasmhook-0123456789abcdef-1").unwrap();
    assert!(matches!(kernel.link(CONTAINER, "eth0"), Err(NetError::NotFound(_))));
}

#[test]
fn a_name_that_is_taken_and_one_that_leads_nowhere_are_told_apart() {
    let (mut kernel, _) = networks();
    kernel.create_link(HOST, &bridge("br0"), "a-name-longer-than-a-links").unwrap();
    let taken = kernel.create_link(HOST, &bridge("br0"), "").unwrap_err();
    assert_eq!(taken, NetError::Exists("host: link \"br0\": it is there already".into()));
    let none = kernel.link(HOST, "br1").unwrap_err();
    assert_eq!(none, NetError::NotFound("host: link \"br1\": there is none".into()));
    assert_eq!(kernel.link(HOST, "a-name-longer-than-a-links").unwrap().name, "br0");
    for name in ["", "x\0y", &"x".repeat(200)] {
        assert!(matches!(kernel.link(HOST, name), Err(NetError::NotFound(_))), "{name:?}");
    }
    let mut alone = Kernel::new(None);
    assert!(matches!(alone.links(CONTAINER), Err(NetError::NotFound(_))));
}

#[test]
fn what_cannot_be_finished_leaves_nothing() {
    let (mut kernel, _) = networks();
    kernel.create_link(HOST, &bridge("br0"), "").unwrap();
    let before = kernel.links(HOST).unwrap();
    // Nobody's port.
    let port = Some(Port { hairpin: Some(true), ..Port::default() });
    let refused = kernel.create_link(HOST, &LinkSpec { port, ..veth("veth1", "eth0") }, "m1");
    assert!(matches!(refused, Err(NetError::Unsupported(_))), "{refused:?}");
    // The container has one of that name.
    kernel.create_link(HOST, &veth("veth2", "eth0"), "").unwrap();
    let taken = kernel.create_link(HOST, &veth("veth3", "eth0"), "m2").unwrap_err();
    assert_eq!(taken, NetError::Exists("container: link \"eth0\": it is there already".into()));
    kernel.delete_link(HOST, "veth2").unwrap();
    for refused in [
        TapSpec { mac: Some("01:00:00:00:00:01".parse().unwrap()), ..tap("tap0") },
        TapSpec { master: Some("no-such-bridge".into()), ..tap("tap0") },
        TapSpec { mtu: Some(7), ..tap("tap0") },
    ] {
        kernel.create_tap(HOST, &refused, "m3").unwrap_err();
    }
    assert!(matches!(
        kernel.create_link(HOST, &LinkSpec { master: Some("none".into()), ..veth("veth1", "eth0") }, "m4"),
        Err(NetError::NotFound(_))
    ));
    assert_eq!(kernel.links(HOST).unwrap(), before);
    assert_eq!(kernel.links(CONTAINER).unwrap().len(), 1);
}

#[test]
fn links_on_links_reach_into_the_container() {
    let (mut kernel, _) = networks();
    kernel.create_link(HOST, &veth("up0", "peer0"), "").unwrap();
    let child = |mode| ChildSpec { parent: "up0".into(), parent_place: Some(HOST), mode };
    let macvlan = LinkSpec { up: true, ..spec("eth0", LinkKind::Macvlan(child(Some(MacvlanMode::Private)))) };
    let link = kernel.create_link(CONTAINER, &macvlan, "m1").unwrap();
    assert_eq!((link.kind.as_str(), link.up), ("macvlan", true));
    assert_eq!(link.alternative_names, ["m1"]);
    let link = kernel.create_link(CONTAINER, &spec("tap0", LinkKind::Macvtap(child(None))), "m2").unwrap();
    assert_eq!((link.kind.as_str(), link.name.as_str()), ("macvtap", "tap0"));
    let vxlan = VxlanSpec {
        vni: 7,
        parent: Some("up0".into()),
        remote: Some("239.1.1.1".parse().unwrap()),
        local: None,
        port: None,
        learning: None,
    };
    assert_eq!(kernel.create_link(HOST, &spec("vx0", LinkKind::Vxlan(vxlan)), "").unwrap().kind, "vxlan");
    assert_eq!(kernel.create_link(CONTAINER, &spec("ifb7", LinkKind::Ifb), "").unwrap().kind, "ifb");
}

#[test]
fn a_kind_that_the_kernel_lacks_is_named() {
    let (mut kernel, _) = networks();
    kernel.create_link(HOST, &bridge("br0"), "").unwrap();
    let vlan = VlanSpec { id: 7, parent: "br0".into(), parent_place: None };
    for kind in [LinkKind::Dummy, LinkKind::Vlan(vlan)] {
        match kernel.create_link(HOST, &spec("x0", kind.clone()), "") {
            Ok(link) => {
                assert_eq!(link.kind, kind.as_str());
                kernel.delete_link(HOST, "x0").unwrap();
            }
            Err(NetError::Unsupported(why)) => {
                let begins =
                    format!("link \"x0\": this node's kernel has no links of kind {:?}", kind.as_str());
                assert!(why.starts_with(&begins), "{why}");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_change_is_made_as_a_whole_or_not_at_all() {
    let (mut kernel, _) = networks();
    kernel.create_link(HOST, &bridge("br0"), "").unwrap();
    kernel.create_link(HOST, &veth("veth1", "eth0"), "").unwrap();
    let before = kernel.link(HOST, "veth1").unwrap();
    let change = LinkChange {
        mtu: Some(1300),
        promiscuous: Some(true),
        tx_queue_length: Some(77),
        master: Some("br0".into()),
        ..LinkChange::default()
    };
    let changed = kernel.update_link(HOST, "veth1", &change).unwrap();
    assert_eq!((changed.mtu, changed.tx_queue_length, changed.promiscuous), (1300, 77, true));
    assert_eq!(changed.master.as_deref(), Some("br0"));
    let back = LinkChange {
        mtu: Some(before.mtu),
        promiscuous: Some(false),
        tx_queue_length: Some(before.tx_queue_length),
        master: Some(String::new()),
        ..LinkChange::default()
    };
    assert_eq!(kernel.update_link(HOST, "veth1", &back).unwrap().master, None);
    // A bridge is nobody's port.
    let wrong = LinkChange { mtu: Some(1280), master: Some("veth1".into()), ..LinkChange::default() };
    let before = kernel.link(HOST, "br0").unwrap();
    kernel.update_link(HOST, "br0", &wrong).unwrap_err();
    assert_eq!(kernel.link(HOST, "br0").unwrap(), before);
    let renamed = LinkChange { name: Some("other".into()), up: Some(false), ..LinkChange::default() };
    assert_eq!(kernel.update_link(HOST, "veth1", &renamed).unwrap().name, "other");
}

#[test]
fn a_link_moves_and_may_be_called_otherwise_there() {
    let (mut kernel, _) = networks();
    let peer = PeerSpec { name: "b".into(), place: HOST, mac: None, up: false };
    kernel.create_link(HOST, &spec("a", LinkKind::Veth { peer }), "m").unwrap();
    let moved = kernel.move_link(HOST, "a", CONTAINER, Some("eth0")).unwrap();
    assert_eq!((moved.name.as_str(), moved.up), ("eth0", false));
    assert!(matches!(kernel.move_link(HOST, "b", CONTAINER, Some("eth0")), Err(NetError::Exists(_))));
    assert_eq!(kernel.move_link(CONTAINER, "eth0", HOST, None).unwrap().name, "eth0");
}

#[test]
fn addresses_routes_and_neighbours_are_as_they_were_said() {
    let (mut kernel, container) = networks();
    kernel.create_link(HOST, &veth("veth1", "eth0"), "").unwrap();
    kernel.add_address(CONTAINER, "eth0", &address("10.9.0.2/24")).unwrap();
    kernel.add_address(CONTAINER, "eth0", &address("fd00::2/64")).unwrap();
    assert!(matches!(
        kernel.add_address(CONTAINER, "eth0", &address("10.9.0.2/24")),
        Err(NetError::Exists(_))
    ));
    let addresses = kernel.addresses(CONTAINER, "eth0").unwrap();
    let texts: Vec<_> = addresses.iter().map(|it| it.address.to_string()).collect();
    assert_eq!(texts[..2], ["10.9.0.2/24", "fd00::2/64"]);
    assert!(inside(&container, "ip -4 addr show eth0").contains("brd 10.9.0.255"));
    let route = Route {
        gw: Some("10.9.0.1".parse().unwrap()),
        dev: Some("eth0".into()),
        mtu: Some(1300),
        advmss: Some(1200),
        priority: Some(50),
        ..Route::to("192.0.2.0/24".parse().unwrap())
    };
    kernel.add_route(CONTAINER, &route).unwrap();
    assert!(matches!(kernel.add_route(CONTAINER, &route), Err(NetError::Exists(_))));
    let filter = RouteFilter { dst: Some(route.dst), ..RouteFilter::default() };
    assert_eq!(kernel.routes(CONTAINER, &filter).unwrap(), [Route { scope: Some(0), ..route.clone() }]);
    let default = |table| Route { dev: Some("eth0".into()), table, ..Route::to("::/0".parse().unwrap()) };
    kernel.add_route(CONTAINER, &default(Some(77))).unwrap();
    let table = RouteFilter { table: Some(77), dev: Some("eth0".into()), ..RouteFilter::default() };
    assert_eq!(kernel.routes(CONTAINER, &table).unwrap().len(), 1);
    let unreachable = Route { gw: Some("203.0.113.1".parse().unwrap()), ..route.clone() };
    let refused = kernel.add_route(CONTAINER, &unreachable).unwrap_err();
    assert_eq!(refused.errno(), libc_enetunreach(), "{refused}");
    kernel.remove_route(CONTAINER, &route).unwrap();
    assert!(matches!(kernel.remove_route(CONTAINER, &route), Err(NetError::NotFound(_))));
    let neighbour = Neighbour {
        address: "10.9.0.7".parse().unwrap(),
        mac: "02:00:00:00:00:07".parse().unwrap(),
        permanent: true,
        keep: false,
    };
    kernel.set_neighbour(CONTAINER, "eth0", &neighbour).unwrap();
    assert_eq!(kernel.neighbours(CONTAINER, "eth0").unwrap(), std::slice::from_ref(&neighbour));
    kernel.remove_neighbour(CONTAINER, "eth0", neighbour.address).unwrap();
    kernel.announce(CONTAINER, "eth0", "10.9.0.2".parse().unwrap()).unwrap();
    kernel.announce(CONTAINER, "eth0", "fd00::2".parse().unwrap()).unwrap();
    kernel.remove_address(CONTAINER, "eth0", "10.9.0.2/24".parse().unwrap()).unwrap();
    let gone = kernel.remove_address(CONTAINER, "eth0", "10.9.0.2/24".parse().unwrap());
    assert!(matches!(gone, Err(NetError::NotFound(_))), "{gone:?}");
}

fn libc_enetunreach() -> i32 {
    nix::errno::Errno::ENETUNREACH as i32
}

#[test]
fn an_announcement_is_heard_by_the_neighbours() {
    let (mut kernel, _) = networks();
    kernel.create_link(HOST, &veth("veth1", "eth0"), "").unwrap();
    kernel.add_address(HOST, "veth1", &address("10.9.0.1/24")).unwrap();
    kernel.set_sysctl(HOST, "net/ipv4/conf/veth1/arp_accept", "1").unwrap();
    kernel.announce(CONTAINER, "eth0", "10.9.0.2".parse().unwrap()).unwrap();
    let mac = kernel.link(CONTAINER, "eth0").unwrap().mac;
    let until = Instant::now() + Duration::from_secs(5);
    let heard = loop {
        let heard = kernel.neighbours(HOST, "veth1").unwrap();
        if !heard.is_empty() || Instant::now() > until {
            break heard;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(heard.iter().map(|it| it.mac.to_string()).collect::<Vec<_>>(), [mac]);
}

#[test]
fn a_tap_has_the_same_flags_whatever_else_is_asked_for() {
    let (mut kernel, _) = networks();
    kernel.create_link(CONTAINER, &bridge("br0"), "").unwrap();
    let plain = kernel.create_tap(CONTAINER, &tap("tap0"), "m1").unwrap();
    let tun = plain.tun.clone().unwrap();
    assert_eq!((tun.mode.as_str(), tun.packet_info, tun.vnet_header), ("tap", false, false));
    assert!(tun.persistent && !tun.multi_queue && !plain.up && tun.owner.is_none());
    let all = TapSpec {
        owner: Some(1000),
        group: Some(1001),
        multi_queue: true,
        mtu: Some(1400),
        mac: Some("02:00:00:00:00:09".parse().unwrap()),
        master: Some("br0".into()),
        up: true,
        ..tap("tap1")
    };
    let link = kernel.create_tap(CONTAINER, &all, "m2").unwrap();
    let tun = link.tun.clone().unwrap();
    assert_eq!(
        (tun.owner, tun.group, tun.multi_queue, tun.packet_info),
        (Some(1000), Some(1001), true, false)
    );
    assert_eq!((link.mtu, link.mac.as_str(), link.up), (1400, "02:00:00:00:00:09", true));
    assert_eq!((link.master.as_deref(), link.kind.as_str()), (Some("br0"), "tun"));
    let taken = kernel.create_tap(CONTAINER, &tap("tap1"), "m3").unwrap_err();
    assert_eq!(taken, NetError::Exists("container: link \"tap1\": it is there already".into()));
    let header = TapSpec {
        mode: TapMode::Tap,
        vnet_header: true,
        packet_info: true,
        offloads: vec![Offload::Checksum, Offload::Tso4, Offload::TsoEcn],
        ..tap("tap2")
    };
    let tun = kernel.create_tap(CONTAINER, &header, "").unwrap().tun.unwrap();
    assert!(tun.vnet_header && tun.packet_info);
    let tun = kernel.create_tap(CONTAINER, &TapSpec { mode: TapMode::Tun, ..tap("tun0") }, "").unwrap();
    assert_eq!(tun.tun.unwrap().mode, "tun");
}

#[test]
fn a_tap_that_cannot_be_meant_is_refused_in_words() {
    let (mut kernel, _) = networks();
    let mut refused = |spec: TapSpec| kernel.create_tap(CONTAINER, &spec, "").unwrap_err().to_string();
    let mac = Some("02:00:00:00:00:09".parse().unwrap());
    let why = refused(TapSpec { mode: TapMode::Tun, mac, ..tap("t") });
    assert_eq!(why, "tap \"t\": a tun has no hardware address: leave `mac` out, or make a tap");
    let why = refused(TapSpec { offloads: vec![Offload::Tso4], vnet_header: true, ..tap("t") });
    assert_eq!(why, "tap \"t\": `tso4` and `tso6` need `checksum`");
    if !std::path::Path::new("/sys/fs/selinux/enforce").exists() {
        let why = refused(TapSpec { selinux_context: Some("a_t".into()), ..tap("t") });
        assert_eq!(why, "selinuxContext \"a_t\": SELinux does not run on this node: leave it out");
    }
}

#[test]
fn settings_are_the_namespaces_own() {
    let (mut kernel, _) = networks();
    let key = "net/ipv4/ip_forward";
    kernel.set_sysctl(CONTAINER, key, "1").unwrap();
    assert_eq!(kernel.sysctl(CONTAINER, key).unwrap(), "1");
    assert_eq!(kernel.sysctl(HOST, key).unwrap(), "0");
    kernel.create_link(HOST, &veth("veth1", "eth0"), "").unwrap();
    kernel.set_sysctl(CONTAINER, "net/ipv4/conf/eth0/arp_notify", "1").unwrap();
    assert!(matches!(kernel.sysctl(HOST, "net/ipv4/conf/eth0/arp_notify"), Err(NetError::NotFound(_))));
}

#[test]
fn features_are_switched_and_fixed_ones_say_so() {
    let (mut kernel, _) = networks();
    kernel.create_link(HOST, &veth("veth1", "eth0"), "").unwrap();
    let features = kernel.features(CONTAINER, "eth0").unwrap();
    let offload = "tx-checksum-ip-generic";
    assert_eq!(features.get(offload), Some(&true), "{features:?}");
    kernel.set_feature(CONTAINER, "eth0", offload, false).unwrap();
    assert_eq!(kernel.features(CONTAINER, "eth0").unwrap().get(offload), Some(&false));
    let fixed = kernel.set_feature(CONTAINER, "eth0", "rx-fcs", true);
    assert!(matches!(fixed, Err(NetError::Unsupported(_))), "{fixed:?}");
    let none = kernel.set_feature(CONTAINER, "eth0", "warp-drive", true);
    assert!(matches!(none, Err(NetError::NotFound(_))), "{none:?}");
}

fn rules(rules: Vec<Rule>) -> Ruleset {
    let chain = Chain {
        name: "postrouting".into(),
        kind: ChainKind::Nat,
        hook: Hook::Postrouting,
        priority: 100,
        policy: Policy::Accept,
        rules,
    };
    Ruleset { family: Family::Ip, chains: vec![chain], keep: false }
}

#[test]
fn a_table_holds_what_was_said_last_and_nothing_else() {
    let (mut kernel, container) = networks();
    let masquerade = Rule {
        saddr: Some(Test::Is("10.9.0.2/32".parse().unwrap())),
        daddr: Some(Test::IsNot { not: "10.9.0.0/24".parse().unwrap() }),
        oifname: Some(Test::IsNot { not: "lo".into() }),
        counter: true,
        comment: Some("pod shop/web".into()),
        ..Rule::all(Action::Masquerade)
    };
    kernel.set_rules(CONTAINER, "t", &rules(vec![Rule::all(Action::Accept)])).unwrap();
    kernel.set_rules(CONTAINER, "t", &rules(vec![masquerade.clone()])).unwrap();
    let listed = inside(&container, "nft list table ip t");
    let rule = "oifname != \"lo\" ip saddr 10.9.0.2 ip daddr != 10.9.0.0/24 counter packets 0 bytes 0 masquerade comment \"pod shop/web\"";
    assert!(listed.contains(rule), "{listed}");
    assert!(!listed.contains("accept\n\t\taccept") && listed.matches("masquerade").count() == 1, "{listed}");
    // One that cannot be made leaves what there was.
    let port = Rule { dport: Some(Test::Is(80)), ..Rule::all(Action::Drop) };
    assert!(matches!(kernel.set_rules(CONTAINER, "t", &rules(vec![port])), Err(NetError::Invalid(_))));
    let target = Rule::all(Action::Snat { to: "fd00::1".parse().unwrap() });
    assert!(matches!(kernel.set_rules(CONTAINER, "t", &rules(vec![target])), Err(NetError::Invalid(_))));
    assert_eq!(inside(&container, "nft list table ip t"), listed);
    kernel.remove_rules(CONTAINER, "t", Family::Ip).unwrap();
    assert!(matches!(kernel.remove_rules(CONTAINER, "t", Family::Ip), Err(NetError::NotFound(_))));
}

#[test]
fn addresses_and_ports_are_translated_in_every_family() {
    let (mut kernel, container) = networks();
    let web = Rule {
        protocol: Some(6),
        dport: Some(Test::Is(80)),
        ..Rule::all(Action::Dnat { to: "fd00::2".parse().unwrap(), port: Some(8080) })
    };
    let chain = Chain {
        name: "pre".into(),
        kind: ChainKind::Nat,
        hook: Hook::Prerouting,
        priority: -100,
        policy: Policy::Accept,
        rules: vec![web],
    };
    let rules = Ruleset { family: Family::Inet, chains: vec![chain], keep: false };
    kernel.set_rules(CONTAINER, "t", &rules).unwrap();
    let listed = inside(&container, "nft list table inet t");
    assert!(listed.contains("tcp dport 80 dnat ip6 to [fd00::2]:8080"), "{listed}");
}
