//! Every import of a guest becomes a message to the door, and an import that the door does not admit is found
//! before the guest's first instruction.

use crate::door::Admission;
use crate::tenant::Tenant;
use crate::{Fault, convert};
use serde_json::{Map, Value};
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Component, Linker, Val};
use wasmtime::{Engine, StoreContextMut};

/// The package whose interfaces are host calls.
const PACKAGE: &str = "wasmhook:host/";
/// What any toolchain may bring.
const WASI: &str = "wasi:";
/// The versions of the contract that are spoken here.
const VERSIONS: [&str; 1] = ["0.1.0"];

/// Also tells whether the guest imports WASI, which then is linked as a whole.
pub(crate) fn link(
    engine: &Engine,
    component: &Component,
    admits: &dyn Fn(&str, &str) -> Admission,
) -> Result<(Linker<Tenant>, bool), Fault> {
    let mut linker = Linker::new(engine);
    let mut imports_wasi = false;
    for (import, item) in component.component_type().imports(engine) {
        if import.starts_with(WASI) {
            imports_wasi = true;
            continue;
        }
        let ComponentItem::ComponentInstance(instance) = item.ty else {
            return Err(Fault::Import(import.to_owned()));
        };
        for (function, item) in instance.exports(engine) {
            match item.ty {
                // Types alone need nothing from us.
                ComponentItem::Type(_) => continue,
                ComponentItem::ComponentFunc(_) => {}
                _ => return Err(Fault::Import(import.to_owned())),
            }
            let interface = interface(import).ok_or_else(|| Fault::Import(import.to_owned()))?;
            match admits(interface, function) {
                Admission::Granted => {}
                Admission::NeedsGrant => {
                    return Err(Fault::Grant { import: import.into(), grant: interface.into() });
                }
                Admission::Unknown => return Err(Fault::Import(format!("{import}#{function}"))),
            }
            let operation = format!("{interface}.{function}");
            linker
                .instance(import)
                .and_then(|mut place| {
                    place.func_new(function, move |tenant, ty, input, output| {
                        ask(tenant, &operation, &ty, input, output)
                    })
                })
                .map_err(|error| Fault::Host(format!("cannot link `{import}`: {error:#}")))?;
        }
    }
    if imports_wasi {
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)
            .map_err(|error| Fault::Host(format!("cannot link WASI: {error:#}")))?;
    }
    Ok((linker, imports_wasi))
}

/// `wasmhook:host/link@0.1.0` → `link`.
pub(crate) fn interface(import: &str) -> Option<&str> {
    let (name, version) = import.strip_prefix(PACKAGE)?.split_once('@')?;
    VERSIONS.contains(&version).then_some(name)
}

fn ask(
    mut tenant: StoreContextMut<'_, Tenant>,
    operation: &str,
    ty: &ComponentFunc,
    input: &[Val],
    output: &mut [Val],
) -> wasmtime::Result<()> {
    let named =
        ty.params().zip(input).map(|((name, _), value)| Ok((name.to_owned(), convert::to_json(value)?)));
    let message = named.collect::<Result<Map<_, _>, convert::Mismatch>>()?;
    let mut reply = tenant.data_mut().ask(operation, Value::Object(message));
    let (Some(slot), Some(wanted)) = (output.first_mut(), ty.results().next()) else {
        return match reply.get("failure") {
            None => Ok(()),
            Some(failure) => Err(refused(operation, failure)),
        };
    };
    if !matches!(wanted, wasmtime::component::Type::Result(_)) {
        if let Some(failure) = reply.get("failure") {
            return Err(refused(operation, failure));
        }
        reply = reply.get_mut("ok").map(Value::take).unwrap_or_default();
    }
    *slot = convert::to_val(&reply, &wanted)
        .map_err(|mismatch| wasmtime::Error::msg(format!("reply to {operation}: {mismatch}")))?;
    Ok(())
}

/// The function has no way to return a failure, so the guest ends here.
fn refused(operation: &str, failure: &Value) -> wasmtime::Error {
    let said = failure.get("message").and_then(Value::as_str).unwrap_or("refused");
    wasmtime::Error::msg(format!("{operation}: {said}"))
}

#[cfg(test)]
mod tests {
    use super::interface;

    #[test]
    fn an_interface_is_ours_up_to_the_version_we_speak() {
        assert_eq!(interface("wasmhook:host/link@0.1.0"), Some("link"));
        assert_eq!(interface("wasmhook:host/link@0.1.9"), None);
        assert_eq!(interface("wasmhook:host/link@0.2.0"), None);
        assert_eq!(interface("wasmhook:host/link"), None);
        assert_eq!(interface("wasi:cli/environment@0.2.0"), None);
    }
}
