//! What is there on the node. Needs the grant `file` for the path, such as `file:/run/flannel/*`.

use crate::HostError;

/// Is there anything at this path, which is absolute and without `.` and `..`? In unit tests it is this machine that is asked.
pub fn exists(path: &str) -> Result<bool, HostError> {
    #[cfg(target_arch = "wasm32")]
    let exists = Ok(crate::bindings::wasmhook::host::file::exists(path)?);
    #[cfg(not(target_arch = "wasm32"))]
    let exists = Ok(std::path::Path::new(path).exists());
    exists
}
