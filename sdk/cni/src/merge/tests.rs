use super::*;
use serde_json::Value as Json;

fn back(made: &str, said: &str, now: &str) -> Json {
    let parse = |text: &str| text.parse::<Object>().unwrap();
    json(&take_back(&parse(made), &parse(said), &parse(now)).to_string())
}

fn json(text: &str) -> Json {
    serde_json::from_str(text).unwrap()
}

/// A result with one list.
fn list(key: &str, elements: &str) -> String {
    format!(r#"{{"cniVersion":"1.0.0","{key}":[{elements}]}}"#)
}

fn assert_list(key: &str, [made, said, now, back_then]: [&str; 4]) {
    let merged = back(&list(key, made), &list(key, said), &list(key, now));
    assert_eq!(merged, json(&list(key, back_then)));
}

const BRIDGE: &str = r#"{"cniVersion":"1.0.0","interfaces":[{"name":"cni0","mac":"b"},{"name":"veth1","mac":"v"},
    {"name":"eth0","mac":"e","sandbox":"/n"}],"ips":[{"interface":2,"address":"10.1.0.5/24","gateway":"10.1.0.1"}],
    "routes":[{"dst":"0.0.0.0/0","gw":"10.1.0.1"}],"dns":{}}"#;

#[test]
fn what_nobody_changed_is_what_the_delegate_made_byte_for_byte() {
    let made = r#"{"z":12345678901234567890123,"cniVersion":"1.0.0","ips":[{"address":"FD00::1/64","x":{"b":1.50, "a":2}}],"dns":{}}"#;
    let now = r#"{"cniVersion":"1.0.0","dns":{},"ips":[{"address":"fd00::1/64","x":{"a":2.0,"b":1.5}}],"z":1.2345678901234568e+22}"#;
    let parse = |text: &str| text.parse::<Object>().unwrap();
    assert_eq!(take_back(&parse(made), &parse(made), &parse(now)).to_string(), made);
}

#[test]
fn what_a_later_plugin_changed_stays() {
    let now =
        BRIDGE.replace(r#""mac":"e""#, r#""mac":"tuned""#).replace(r#""dns":{}"#, r#""dns":{"domain":"d"}"#);
    assert_eq!(back(BRIDGE, BRIDGE, &now), json(&now));
}

#[test]
fn what_only_hooks_said_is_taken_back() {
    let said = r#"{"cniVersion":"1.0.0","a":2,"new":1,"dns":{"domain":"hook","search":["s"]}}"#;
    let made = r#"{"cniVersion":"1.0.0","a":1,"gone":3,"dns":{"domain":"made"}}"#;
    assert_eq!(back(made, said, said), json(made));
}

#[test]
fn where_both_spoke_objects_are_merged_member_by_member() {
    let made = r#"{"dns":{"domain":"made","options":["o"]},"x":{"a":1,"b":1}}"#;
    let said = r#"{"dns":{"domain":"hook"},"x":{"a":2,"b":2}}"#;
    let now = r#"{"dns":{"domain":"hook","search":["later"]},"x":{"a":2,"b":3}}"#;
    let expected = r#"{"dns":{"domain":"made","options":["o"],"search":["later"]},"x":{"a":1,"b":3}}"#;
    assert_eq!(back(made, said, now), json(expected));
}

#[test]
fn an_object_that_hooks_added_keeps_only_what_a_later_plugin_put_there() {
    let said = r#"{"dns":{"domain":"hook"}}"#;
    assert_eq!(
        back("{}", said, r#"{"dns":{"domain":"hook","search":["s"]}}"#),
        json(r#"{"dns":{"search":["s"]}}"#)
    );
    assert_eq!(back("{}", said, r#"{"dns":{"domain":"hook","search":[]}}"#), json("{}"));
}

#[test]
fn where_both_spoke_a_later_plugin_s_scalar_stays() {
    assert_eq!(back(r#"{"x":1}"#, r#"{"x":2}"#, r#"{"x":3}"#), json(r#"{"x":3}"#));
    assert_eq!(back(r#"{"x":{"a":1}}"#, r#"{"x":2}"#, r#"{"x":{"a":3}}"#), json(r#"{"x":{"a":3}}"#));
}

#[test]
fn a_dns_that_says_nothing_to_a_runtime_is_not_taken_away() {
    for made in [r#"{"dns":{"domain":""}}"#, r#"{"dns":{"x":1,"search":[]}}"#] {
        assert_eq!(back(made, made, "{}"), json(made));
    }
    assert_eq!(back(r#"{"dns":{}}"#, r#"{"dns":{"x":1}}"#, "{}"), json(r#"{"dns":{}}"#));
    assert_eq!(back(r#"{"dns":{"domain":"d"}}"#, r#"{"dns":{"domain":"d"}}"#, "{}"), json("{}"));
}

#[test]
fn what_a_later_plugin_took_away_stays_away() {
    let now = r#"{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","sandbox":"/n"}],"ips":[]}"#;
    assert_eq!(back(BRIDGE, BRIDGE, now), json(&now.replace(r#""ips":[]"#, r#""ips":[],"dns":{}"#)));
    assert_eq!(
        back(r#"{"ips":[{"address":"::1/8"}]}"#, r#"{"ips":[{"address":"::1/8"}]}"#, "{}"),
        json("{}")
    );
}

#[test]
fn an_address_that_a_hook_replaced_is_the_delegate_s_again() {
    let said = BRIDGE.replace("10.1.0.", "10.9.9.");
    assert_eq!(back(BRIDGE, &said, &said), json(BRIDGE));
    // portmap and tuning were there too.
    let now = said.replace(r#""mac":"e""#, r#""mac":"tuned""#);
    assert_eq!(back(BRIDGE, &said, &now), json(&BRIDGE.replace(r#""mac":"e""#, r#""mac":"tuned""#)));
}

#[test]
fn an_address_is_known_by_interface_and_family_when_a_hook_replaced_it() {
    assert_list(
        "ips",
        [
            r#"{"address":"10.1.0.5/24"},{"address":"fd00::5/64"}"#,
            r#"{"address":"fd99::9/64"},{"address":"10.9.9.9/24"}"#,
            r#"{"address":"fd99::9/64","gateway":"fd99::1"},{"address":"10.9.9.9/24","gateway":"10.9.9.1"}"#,
            r#"{"address":"10.1.0.5/24","gateway":"10.9.9.1"},{"address":"fd00::5/64","gateway":"fd99::1"}"#,
        ],
    );
}

#[test]
fn an_address_is_known_though_a_hook_changed_its_prefix() {
    assert_list(
        "ips",
        [
            r#"{"address":"10.1.0.4/24"},{"address":"10.1.0.5/24","gateway":"10.1.0.1"}"#,
            r#"{"address":"10.1.0.5/16","gateway":"10.1.0.1"}"#,
            r#"{"address":"10.1.0.5/16","gateway":"10.1.0.2"}"#,
            r#"{"address":"10.1.0.4/24"},{"address":"10.1.0.5/24","gateway":"10.1.0.2"}"#,
        ],
    );
}

#[test]
fn an_element_that_a_hook_added_is_gone() {
    for (key, one, other) in [
        ("interfaces", r#"{"name":"eth0"}"#, r#"{"name":"fake0"}"#),
        ("ips", r#"{"address":"10.0.0.2/24"}"#, r#"{"address":"10.0.0.3/24"}"#),
        ("routes", r#"{"dst":"::/0"}"#, r#"{"dst":"::/0","table":7}"#),
    ] {
        let both = format!("{one},{other}");
        assert_list(key, [one, &both, &both, one]);
        assert_list(key, ["", &both, &both, ""]);
        let absent = r#"{"cniVersion":"1.0.0"}"#;
        assert_eq!(back(absent, &list(key, one), &list(key, one)), json(absent));
    }
}

#[test]
fn an_element_that_a_hook_added_is_gone_though_a_later_plugin_changed_it() {
    assert_list("interfaces", ["", r#"{"name":"fake0","mac":"a"}"#, r#"{"name":"fake0","mac":"b"}"#, ""]);
}

#[test]
fn an_element_that_a_hook_removed_is_back_in_its_place() {
    for (key, [a, b, c, d]) in [
        ("interfaces", [r#"{"name":"a"}"#, r#"{"name":"b"}"#, r#"{"name":"c"}"#, r#"{"name":"d"}"#]),
        (
            "ips",
            [
                r#"{"address":"::a/8"}"#,
                r#"{"address":"::b/8"}"#,
                r#"{"address":"::c/8"}"#,
                r#"{"address":"::d/8"}"#,
            ],
        ),
        ("routes", [r#"{"dst":"::a/8"}"#, r#"{"dst":"::b/8"}"#, r#"{"dst":"::c/8"}"#, r#"{"dst":"::d/8"}"#]),
    ] {
        let of = |elements: &[&str]| elements.join(",");
        let made = of(&[a, b, c]);
        for said in [of(&[b, c]), of(&[a, c]), of(&[a, b]), of(&[b]), String::new()] {
            assert_list(key, [&made, &said, &said, &made]);
        }
        assert_list(key, [&made, &of(&[b, c]), &of(&[d, b, c]), &of(&[a, d, b, c])]);
        assert_list(key, [&made, &of(&[a, c]), &of(&[a, c, d]), &of(&[a, b, c, d])]);
    }
}

#[test]
fn an_element_that_a_later_plugin_appended_stays_last() {
    let (a, h, d) = (r#"{"dst":"10.0.0.0/8"}"#, r#"{"dst":"::/0"}"#, r#"{"dst":"fd00::/8"}"#);
    assert_list("routes", [a, a, &format!("{a},{d}"), &format!("{a},{d}")]);
    assert_list("routes", [a, h, &format!("{h},{d}"), &format!("{a},{d}")]);
    assert_list("routes", ["", h, &format!("{h},{d}"), d]);
}

#[test]
fn what_a_later_plugin_put_in_the_place_of_a_hook_s_element_stays() {
    let (a, h, d) = (r#"{"name":"a"}"#, r#"{"name":"h"}"#, r#"{"name":"d"}"#);
    assert_list("interfaces", [a, &format!("{a},{h}"), &format!("{a},{d}"), &format!("{a},{d}")]);
}

#[test]
fn what_a_hook_removed_and_a_later_plugin_put_back_is_there_once() {
    let (a, b) = (r#"{"name":"a"}"#, r#"{"name":"b","mac":"1"}"#);
    let again = r#"{"name":"b","mac":"2"}"#;
    assert_list("interfaces", [&format!("{a},{b}"), a, &format!("{a},{again}"), &format!("{a},{again}")]);
}

#[test]
fn a_hook_s_order_is_taken_back_and_a_later_plugin_s_stays() {
    let (a, b, c) =
        (r#"{"address":"10.0.0.1/8"}"#, r#"{"address":"10.0.0.2/8"}"#, r#"{"address":"10.0.0.3/8"}"#);
    let of = |elements: &[&str]| elements.join(",");
    assert_list("ips", [&of(&[a, b]), &of(&[b, a]), &of(&[b, a, c]), &of(&[a, b, c])]);
    assert_list("ips", [&of(&[a, b, c]), &of(&[a, b, c]), &of(&[c, a, b]), &of(&[c, a, b])]);
    assert_list("ips", [&of(&[a, b, c]), &of(&[b, c]), &of(&[c, b]), &of(&[c, a, b])]);
}

#[test]
fn a_mac_that_a_hook_said_is_taken_back_and_one_that_a_plugin_set_stays() {
    let mac = |mac: &str| format!(r#"{{"name":"eth0","sandbox":"/n","mac":"{mac}"}}"#);
    assert_list("interfaces", [&mac("made"), &mac("hook"), &mac("hook"), &mac("made")]);
    assert_list("interfaces", [&mac("made"), &mac("made"), &mac("tuned"), &mac("tuned")]);
    assert_list("interfaces", [&mac("made"), &mac("hook"), &mac("tuned"), &mac("tuned")]);
    let none = r#"{"name":"eth0","sandbox":"/n"}"#;
    assert_list("interfaces", [none, &mac("hook"), &mac("hook"), none]);
    assert_list("interfaces", [&mac("made"), none, none, &mac("made")]);
}

#[test]
fn an_interface_is_known_by_name_and_sandbox_and_else_by_place() {
    let (host, inside) = (r#"{"name":"eth0","mac":"h"}"#, r#"{"name":"eth0","sandbox":"/n","mac":"i"}"#);
    let tuned = r#"{"name":"eth0","sandbox":"/n","mac":"t"}"#;
    let (made, said) = (format!("{host},{inside}"), format!("{inside},{host}"));
    assert_list("interfaces", [&made, &said, &format!("{tuned},{host}"), &format!("{host},{tuned}")]);
    let renamed = |mac: &str| format!(r#"{host},{{"name":"net1","sandbox":"/n","mac":"{mac}"}}"#);
    assert_list("interfaces", [&made, &renamed("i"), &renamed("t"), &format!("{host},{tuned}")]);
}

#[test]
fn a_route_is_known_by_destination_gateway_and_table() {
    let route = |gw: &str, mtu: u32| format!(r#"{{"dst":"0.0.0.0/0","gw":"{gw}","mtu":{mtu}}}"#);
    let (first, second) = (route("10.0.0.1", 1), route("10.0.0.2", 2));
    let (made, said) = (format!("{first},{second}"), second.clone());
    assert_list(
        "routes",
        [&made, &said, &route("10.0.0.2", 3), &format!("{first},{}", route("10.0.0.2", 3))],
    );
    // A hook's gateway goes, what a later plugin set on that route stays.
    assert_list("routes", [&first, &route("10.9.9.9", 1), &route("10.9.9.9", 5), &route("10.0.0.1", 5)]);
}

#[test]
fn indices_follow_their_interface_when_a_hook_s_is_gone() {
    let said = BRIDGE
        .replace(r#""interfaces":["#, r#""interfaces":[{"name":"fake0"},"#)
        .replace(r#""interface":2"#, r#""interface":3"#);
    let added = r#""ips":[{"interface":4,"address":"10.1.0.6/24"},"#;
    let now =
        said.replace(r#""sandbox":"/n"}"#, r#""sandbox":"/n"},{"name":"net1"}"#).replace(r#""ips":["#, added);
    let expected = BRIDGE
        .replace(r#""sandbox":"/n"}"#, r#""sandbox":"/n"},{"name":"net1"}"#)
        .replace(r#""ips":["#, &added.replace(r#""interface":4"#, r#""interface":3"#));
    assert_eq!(back(BRIDGE, &said, &now), json(&expected));
}

#[test]
fn indices_follow_their_interface_when_a_removed_one_is_back() {
    let said = r#"{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","mac":"e","sandbox":"/n"}],
        "ips":[{"interface":0,"address":"10.1.0.5/24","gateway":"10.1.0.1"}],
        "routes":[{"dst":"0.0.0.0/0","gw":"10.1.0.1"}],"dns":{}}"#;
    assert_eq!(back(BRIDGE, said, said), json(BRIDGE));
    let now = said.replace(r#""ips":["#, r#""ips":[{"interface":0,"address":"10.7.0.7/24"},"#);
    let expected = BRIDGE.replace(r#""ips":["#, r#""ips":[{"interface":2,"address":"10.7.0.7/24"},"#);
    assert_eq!(back(BRIDGE, said, &now), json(&expected));
}

#[test]
fn indices_follow_their_interface_when_a_later_plugin_moved_it() {
    let now = r#"{"cniVersion":"1.0.0","interfaces":[{"name":"dummy0"},{"name":"eth0","mac":"e","sandbox":"/n"}],
        "ips":[{"interface":1,"address":"10.9.9.9/24","gateway":"10.1.0.1"}],"dns":{}}"#;
    let said = BRIDGE.replace("10.1.0.5", "10.9.9.9");
    assert_eq!(back(BRIDGE, &said, now), json(&now.replace("10.9.9.9", "10.1.0.5")));
}

#[test]
fn an_index_that_a_hook_said_is_taken_back() {
    let said = BRIDGE.replace(r#""interface":2"#, r#""interface":0"#);
    assert_eq!(back(BRIDGE, &said, &said), json(BRIDGE));
    let none = BRIDGE.replace(r#""interface":2,"#, "");
    assert_eq!(back(BRIDGE, &none, &none), json(BRIDGE));
    assert_eq!(back(&none, BRIDGE, BRIDGE), json(&none));
}

#[test]
fn an_address_on_an_interface_that_is_gone_has_no_index() {
    let said = r#"{"interfaces":[{"name":"fake0"}]}"#;
    let now = r#"{"interfaces":[{"name":"fake0"}],"ips":[{"interface":0,"address":"10.0.0.2/24"}]}"#;
    assert_eq!(back("{}", said, now), json(r#"{"ips":[{"address":"10.0.0.2/24"}]}"#));
}

#[test]
fn an_index_to_nowhere_stays_as_it_is() {
    let ip = r#"{"interface":7,"address":"10.0.0.2/24"}"#;
    assert_list("ips", [ip, ip, ip, ip]);
    let now = r#"{"interface":"x","address":"10.0.0.2/24"}"#;
    assert_list("ips", [ip, ip, now, now]);
}

#[test]
fn a_delegate_gets_keys_back_that_a_runtime_dropped() {
    let made = r#"{"vendor":{"id":9007199254740993},"interfaces":[{"name":"eth0","mtu":0,"mac":"","x":1.50}],
        "ips":[{"interface":0,"address":"10.0.0.2/24","lease":"l"}],"routes":[],"dns":{}}"#;
    let said = made.replace("\"l\"", "\"hook\"").replace("\"mac\":\"\"", "\"mac\":\"hook\",\"word\":1");
    let now =
        r#"{"interfaces":[{"mac":"tuned","name":"eth0"}],"ips":[{"address":"10.0.0.2/24","interface":0}]}"#;
    let parse = |text: &str| text.parse::<Object>().unwrap();
    let merged = take_back(&parse(made), &parse(&said), &parse(now));
    assert_eq!(json(&merged.to_string()), json(&made.replace("\"mac\":\"\"", "\"mac\":\"tuned\"")));
    assert_eq!(merged.raw("vendor").unwrap().get(), r#"{"id":9007199254740993}"#);
}

#[test]
fn keys_that_a_runtime_dropped_do_not_come_back_where_the_object_went() {
    let made = r#"{"interfaces":[{"name":"eth0","x":1}],"vendor":{"a":1,"b":2}}"#;
    assert_eq!(
        back(made, made, r#"{"interfaces":[],"vendor":{"a":1}}"#),
        json(r#"{"interfaces":[],"vendor":{"a":1}}"#)
    );
}

#[test]
fn numbers_are_compared_as_float64() {
    let said = r#"{"a":{"x":2},"b":[1,2]}"#;
    assert_eq!(
        back(r#"{"a":{"x":1},"b":[3]}"#, said, r#"{"a":{"x":2.0},"b":[1.0,2e0]}"#),
        json(r#"{"a":{"x":1},"b":[3]}"#)
    );
}

#[test]
fn other_lists_are_merged_by_equal_elements() {
    let dns = |servers: &str| format!(r#"{{"dns":{{"nameservers":[{servers}]}}}}"#);
    assert_eq!(
        back(&dns(r#""m","r""#), &dns(r#""h","m""#), &dns(r#""h","m","l""#)),
        json(&dns(r#""m","r","l""#))
    );
}

#[test]
fn the_old_family_is_merged_too() {
    let made = r#"{"cniVersion":"0.2.0","ip4":{"ip":"10.1.0.5/24","gateway":"10.1.0.1","routes":[{"dst":"0.0.0.0/0"}]},"dns":{}}"#;
    let said =
        made.replace("10.1.0.5", "10.9.9.9").replace(r#"{"dst":"0.0.0.0/0"}"#, r#"{"dst":"10.0.0.0/8"}"#);
    assert_eq!(back(made, &said, &said), json(made));
    let now = said.replace(r#"/8"}"#, r#"/8"},{"dst":"10.2.0.0/16"}"#).replace("10.1.0.1", "10.1.0.254");
    let expected = made.replace(r#"/0"}"#, r#"/0"},{"dst":"10.2.0.0/16"}"#).replace("10.1.0.1", "10.1.0.254");
    assert_eq!(back(made, &said, &now), json(&expected));
}

#[test]
fn an_old_address_is_there_or_not() {
    let (none, four) = ("{}", r#"{"ip4":{"ip":"10.1.0.5/24"}}"#);
    let changed = r#"{"ip4":{"ip":"10.1.0.5/24","gateway":"10.1.0.1"}}"#;
    assert_eq!(back(none, four, four), json(none));
    assert_eq!(back(none, four, changed), json(none));
    assert_eq!(back(four, none, none), json(four));
    assert_eq!(back(changed, none, four), json(four));
    assert_eq!(back(none, none, four), json(four));
    assert_eq!(back(four, four, none), json(none));
}

#[test]
fn the_version_is_the_one_that_was_sent() {
    assert_eq!(
        back("{}", r#"{"cniVersion":"1.0.0"}"#, r#"{"cniVersion":"1.0.0"}"#),
        json(r#"{"cniVersion":"1.0.0"}"#)
    );
    assert_eq!(back(r#"{"cniVersion":"1.0.0"}"#, "{}", "{}"), json(r#"{"cniVersion":"1.0.0"}"#));
}

#[test]
fn twins_are_told_apart_by_their_order() {
    let twin = r#"{"address":"10.0.0.2/24"}"#;
    let twins = format!("{twin},{twin}");
    assert_list("ips", [&twins, &twins, &twins, &twins]);
    assert_list("ips", [&twins, twin, twin, &twins]);
    assert_list("ips", [twin, &twins, &twins, twin]);
    assert_list("ips", [&twins, &twins, twin, twin]);
    // One address on two interfaces.
    let on =
        |index: u32, gw: &str| format!(r#"{{"interface":{index},"address":"10.0.0.2/24","gateway":"{gw}"}}"#);
    let result = |ips: &str| format!(r#"{{"interfaces":[{{"name":"a"}},{{"name":"b"}}],"ips":[{ips}]}}"#);
    let made = result(&format!("{},{}", on(0, "::1"), on(1, "::2")));
    assert_eq!(
        back(&made, &result(&on(1, "::2")), &result(&on(1, "::3"))),
        json(&result(&format!("{},{}", on(0, "::1"), on(1, "::3"))))
    );
}

#[test]
fn any_json_is_merged() {
    let values = [
        "null",
        "7",
        "1e999",
        "\"x\"",
        r#""\ud800""#,
        "[]",
        "[null]",
        r#"["a","a",7]"#,
        "[[1],[{}]]",
        "{}",
        r#"{"ip":7,"routes":{}}"#,
        r#"[{"name":7,"address":7,"dst":7,"interface":-1}]"#,
        r#"[{"name":"a","interface":99999999999999999999},{"name":"a","address":"x"},{}]"#,
    ];
    for key in ["interfaces", "ips", "routes", "ip4", "dns", "cniVersion", "x"] {
        let of = |value: &str| format!(r#"{{"{key}":{value}}}"#).parse::<Object>().unwrap();
        let results: Vec<_> = values.into_iter().map(of).chain([Object::new()]).collect();
        for made in &results {
            for said in &results {
                let same = take_back(made, said, said);
                let expected =
                    if key == "cniVersion" { None } else { made.raw(key).filter(|it| it.get() != "null") };
                if let Some(expected) = expected {
                    assert_eq!(same.raw(key).map(meaning), Some(meaning(expected)), "{made} {said}");
                }
                for now in &results {
                    drop(take_back(made, said, now));
                }
            }
        }
    }
}

/// Results drawn by a fixed sequence: few names, so that many are the same and many are not.
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn list(&mut self, mut one: impl FnMut(&mut Self) -> String) -> String {
        let count = self.below(5);
        (0..count).map(|_| one(self)).collect::<Vec<_>>().join(",")
    }

    fn result(&mut self) -> Object {
        let interfaces = self.list(|draw| {
            let (name, mac) = (draw.below(5), draw.below(3));
            format!(r#"{{"name":"eth{name}","mac":"{mac}"}}"#)
        });
        let count = interfaces.matches("name").count() as u64;
        let ips = self.list(|draw| {
            let index = match draw.below(count + 1) {
                0 => String::new(),
                index => format!(r#""interface":{},"#, index - 1),
            };
            format!(r#"{{{index}"address":"10.0.0.{}/24","gateway":"::{}"}}"#, draw.below(6), draw.below(3))
        });
        let routes = self.list(|draw| {
            format!(
                r#"{{"dst":"::{}/64","gw":"::{}","mtu":{}}}"#,
                draw.below(3),
                draw.below(3),
                draw.below(3)
            )
        });
        let text = format!(
            r#"{{"interfaces":[{interfaces}],"ips":[{ips}],"routes":[{routes}],"dns":{{"domain":"{}"}}}}"#,
            self.below(3)
        );
        text.parse().unwrap()
    }
}

/// As a runtime could have written it.
fn settled_json(result: &Object) -> Json {
    let mut value = json(&result.to_string());
    let object = value.as_object_mut().unwrap();
    object.retain(|_, value| value.as_array().is_none_or(|list| !list.is_empty()));
    value
}

#[test]
fn with_no_later_plugin_it_is_what_the_delegate_made() {
    let mut draw = Draw(7);
    for _ in 0..2_000 {
        let (made, said) = (draw.result(), draw.result());
        let merged = take_back(&made, &said, &said);
        assert_eq!(settled_json(&merged), settled_json(&made), "said {said}");
    }
}

#[test]
fn with_no_hook_it_is_what_the_runtime_sends() {
    let zeros = |text: &str| text.replace(r#","mtu":0"#, "").parse::<Object>().unwrap();
    let mut draw = Draw(11);
    for _ in 0..2_000 {
        let (made, now) = (zeros(&draw.result().to_string()), zeros(&draw.result().to_string()));
        let merged = take_back(&made, &made, &now);
        assert_eq!(settled_json(&merged), settled_json(&now), "made {made}");
    }
}

#[test]
fn indices_point_into_the_merged_list_whoever_spoke() {
    let mut draw = Draw(13);
    for _ in 0..2_000 {
        let (made, said, now) = (draw.result(), draw.result(), draw.result());
        let merged = json(&take_back(&made, &said, &now).to_string());
        let length = |key: &str| merged[key].as_array().map_or(0, Vec::len);
        for at in 0..length("ips") {
            let index = merged["ips"][at]["interface"].as_u64().unwrap_or_default();
            let known = usize::try_from(index).unwrap() < length("interfaces");
            assert!(known || merged["ips"][at].get("interface").is_none(), "{made} {said} {now}: {merged}");
        }
    }
}

#[test]
fn what_nests_too_deep_is_one_value() {
    let deep = |inside: u32| {
        let (open, close) = (r#"{"a":"#.repeat(5_000), "}".repeat(5_000));
        format!(r#"{{"x":{open}{inside}{close}}}"#).parse::<Object>().unwrap()
    };
    assert_eq!(take_back(&deep(1), &deep(2), &deep(2)).to_string(), deep(1).to_string());
    assert_eq!(take_back(&deep(1), &deep(2), &deep(3)).to_string(), deep(3).to_string());
}

#[test]
fn long_lists_take_no_more_than_a_moment() {
    let ips = |from: u32| -> String {
        let ip = |at: u32| format!(r#"{{"address":"10.{}.{}.{}/8"}}"#, at >> 16, at >> 8 & 255, at & 255);
        (from..from + 10_000).map(ip).collect::<Vec<_>>().join(",")
    };
    let (made, said) = (ips(0), ips(100_000));
    assert_list("ips", [&made, &said, &said, &made]);
}
