use super::BETWEEN;
use wasmhook_cni::{Args, Environment, PluginConfig, Verb};
use wasmhook_plugin::entry::{Entry, Place};
use wasmhook_plugin::limits::LimitSettings;
use wasmhook_plugin::settings::Settings;
use wasmhook_plugin::{Problems, explain};

/// A configuration, and then what a node says about limits (JSON where a node would write TOML).
pub fn config(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (config, limits) = text.split_once(BETWEEN).unwrap_or((&text, "{}"));
    let limits: LimitSettings = serde_json::from_str(limits).unwrap_or_default();
    assert_eq!(limits.usual(), limits.usual().lesser(&limits.max()));

    let Ok(config) = PluginConfig::parse(config) else { return };
    let written = config.to_string();
    let again = PluginConfig::parse(&written).unwrap();
    assert_eq!(written, again.to_string());
    assert_eq!(config.version().ok(), again.version().ok());
    assert!(Entry::stray_keys(&config).iter().all(|key| config.contains(key)));
    assert_eq!(Place::of(&config), Place::of(&again));
    for place in [Place::Chain, Place::Ipam] {
        let (mut entry, mut problems) = Entry::read(&config, place, &limits);
        let (same, same_problems) = Entry::read(&again, place, &limits);
        assert_eq!(format!("{entry:?}"), format!("{same:?}"));
        assert_eq!(problems, same_problems);
        for hook in &entry.hooks {
            assert_eq!(hook.limits, hook.limits.lesser(&limits.max()), "{}", hook.at);
        }
        entry.judge_grants(&Settings::default(), &mut problems);
        assert_eq!(problems, same_problems, "this node allows whatever is asked for");
        judge(&entry, &problems);
        meet(&entry, &config);
    }
}

/// Whoever is not met is told why, and only then.
fn meet(entry: &Entry, config: &PluginConfig) {
    let environment = Environment {
        verb: Verb::Add,
        container_id: "c1".into(),
        netns: "/n".into(),
        ifname: "eth0".into(),
        args: String::new(),
        path: String::new(),
    };
    let args = Args::parse("K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web").unwrap();
    let Ok(meetings) = explain(entry, config, &environment, &args) else { return };
    for meeting in meetings {
        assert_eq!(meeting.phases.is_empty(), !meeting.unmet.is_empty(), "{meeting:?}");
    }
}

fn judge(entry: &Entry, problems: &Problems) {
    assert!(!entry.id.is_empty());
    for problem in &problems.0 {
        assert!(!problem.path.is_empty() && !problem.message.is_empty(), "{problem:?}");
    }
}
