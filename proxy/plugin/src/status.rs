//! STATUS: could an ADD succeed now?

use crate::call::Call;
use crate::delegate::{Delegate, DelegateError};
use crate::error::Error;
use crate::gc::{Asking, Nobody, around};
use crate::pipeline::Standing;
use wasmhook_cni::{self as cni, Verb, code};

/// Asks hooks and delegates. An answer of ours takes the whole node down, so it is given for one reason only: an ADD
/// would fail.
pub(crate) fn status(call: &Call<'_>) -> Standing {
    asked(call).map(|()| None).map_err(not_available)
}

fn asked(call: &Call<'_>) -> Result<(), Error> {
    for delegate in &call.entry.delegates {
        let config = call.delegate_config(delegate)?;
        let delegate = Delegate::of(delegate, &call.environment.path)?;
        around(call, &mut Asking { call, delegate, verb: Verb::Status }, config)?;
    }
    if call.entry.delegates.is_empty() {
        around(call, &mut Nobody, call.own_config())?;
    }
    Ok(())
}

/// What a delegate or a hook says itself passes as it is.
pub(crate) fn not_available(error: Error) -> Error {
    match error {
        Error::Cni(_) | Error::Delegate(DelegateError::Own(_)) => error,
        error => {
            let error = cni::Error::from(error);
            Error::Cni(cni::Error { code: code::NOT_AVAILABLE, ..error })
        }
    }
}
