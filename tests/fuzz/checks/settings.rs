use std::fs;
use std::time::Duration;
use wasmhook_plugin::settings::{Settings, SettingsError};

const HOUR: Duration = Duration::from_hours(1);

/// The node's settings: TOML.
pub fn settings(input: &[u8]) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.toml");
    fs::write(&path, input).unwrap();
    let settings = match Settings::load(Some(&path)) {
        Ok(settings) => settings,
        Err(SettingsError::Read { .. }) => return assert!(str::from_utf8(input).is_err()),
        Err(SettingsError::Wrong { what, .. }) => return assert!(!what.is_empty()),
    };
    let Settings { modules, state, compiled, compiler, log_file, limits, budgets, .. } = &settings;
    let paths = modules.iter().chain([state, compiled, compiler]).chain(log_file);
    paths.for_each(|path| assert!(path.is_absolute(), "{}", path.display()));
    assert_eq!(limits.usual(), limits.usual().lesser(&limits.max()));
    for budget in [budgets.call, budgets.hooks, budgets.delegate, budgets.reserve] {
        assert!(!budget.is_zero() && budget <= HOUR, "{budget:?}");
    }
    assert!(budgets.reserve < budgets.call);
    for (module, grants) in &settings.grants {
        for grant in grants {
            assert_eq!(settings.allowed(module, grant).first(), Some(grant), "{module}");
        }
    }
}
