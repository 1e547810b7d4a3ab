use super::ask_all;
use crate::call::Call;
use crate::delegate::DelegateError;
use crate::error::Error;
use crate::pipeline::Standing;
use wasmhook_cni::{self as cni, code};

/// STATUS: could an ADD succeed now? An answer of ours takes the whole node down, so it is given for one reason only: an
/// ADD would fail.
pub(crate) fn status(call: &Call<'_>) -> Standing {
    ask_all(call).into_iter().next().map_or(Ok(None), |error| Err(not_available(error)))
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
