//! Counters for Prometheus. Needs the grant `metrics`.

use crate::Result;

/// Adds to the counter `wasmhook_<name>`, which has the label `hook` beside these. Where the node keeps no counters it does
/// nothing. Fails for words that Prometheus would not take, and when the module has 1000 series already.
pub fn count(name: &str, by: u64, labels: &[(&str, &str)]) -> Result<()> {
    #[cfg(target_arch = "wasm32")]
    {
        let labels: Vec<_> =
            labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect();
        crate::bindings::wasmhook::host::metrics::count(name, by, &labels)?;
    }
    #[cfg(not(target_arch = "wasm32"))]
    let _ = (name, by, labels);
    Ok(())
}
