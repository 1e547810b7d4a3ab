//! Asks a container runtime for its pod sandboxes: the one question out of the whole CRI that `gc` has.
//! <https://github.com/kubernetes/cri-api/blob/master/pkg/apis/runtime/v1/api.proto>

use http::uri::PathAndQuery;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::timeout;
use tonic::client::Grpc;
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

const LIST_POD_SANDBOX: &str = "/runtime.v1.RuntimeService/ListPodSandbox";
/// A runtime that is busy answers late; one that hangs never does.
const PATIENCE: Duration = Duration::from_secs(10);
/// As much as a kubelet takes.
const LARGEST_ANSWER: usize = 16 << 20;

/// Without a filter: all of them, ready or not.
#[derive(Clone, PartialEq, prost::Message)]
struct ListPodSandboxRequest {}

#[derive(Clone, PartialEq, prost::Message)]
struct ListPodSandboxResponse {
    #[prost(message, repeated, tag = "1")]
    items: Vec<PodSandbox>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PodSandbox {
    #[prost(string, tag = "1")]
    id: String,
}

/// A runtime did not say which sandboxes it has.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CriError {
    #[error("CRI {}: {source}", .socket.display())]
    Socket { socket: PathBuf, source: io::Error },
    #[error("CRI {}: nothing that speaks gRPC is listening there: {}", .socket.display(), root(.error))]
    Connect { socket: PathBuf, error: tonic::transport::Error },
    #[error("CRI {}: this runtime has no CRI v1 service (containerd: is its plugin `cri` disabled?)", .0.display())]
    NotThere(PathBuf),
    #[error("CRI {}: the runtime answered {:?}: {}", .socket.display(), .status.code(), .status.message())]
    Refused { socket: PathBuf, status: Box<Status> },
    #[error("CRI {}: no answer in {PATIENCE:?}", .0.display())]
    Late(PathBuf),
}

/// Tonic's own words say nothing.
fn root(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// The ids of all pod sandboxes, which are the container ids of CNI. The socket is a path, with or without `unix://`.
pub(crate) fn sandboxes(socket: &str) -> Result<Vec<String>, CriError> {
    let socket = Path::new(socket.strip_prefix("unix://").unwrap_or(socket)).to_owned();
    let failed = |source| CriError::Socket { socket: socket.clone(), source };
    // Connecting would tell the same, in more words.
    std::fs::metadata(&socket).map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let asked = runtime.block_on(async { timeout(PATIENCE, ask(&socket)).await });
    asked.unwrap_or_else(|_| Err(CriError::Late(socket.clone())))
}

async fn ask(socket: &Path) -> Result<Vec<String>, CriError> {
    let unreachable = |error| CriError::Connect { socket: socket.to_owned(), error };
    let refused = |status: Status| match status.code() {
        Code::Unimplemented => CriError::NotThere(socket.to_owned()),
        _ => CriError::Refused { socket: socket.to_owned(), status: Box::new(status) },
    };
    let address = format!("unix://{}", socket.display());
    let channel = Endpoint::try_from(address).map_err(unreachable)?.connect().await.map_err(unreachable)?;
    let mut client = Grpc::new(channel).max_decoding_message_size(LARGEST_ANSWER);
    client.ready().await.map_err(unreachable)?;
    let codec = ProstCodec::<ListPodSandboxRequest, ListPodSandboxResponse>::default();
    let path = PathAndQuery::from_static(LIST_POD_SANDBOX);
    let answer = client.unary(Request::new(ListPodSandboxRequest {}), path, codec).await.map_err(refused)?;
    Ok(answer.into_inner().items.into_iter().map(|sandbox| sandbox.id).collect())
}
