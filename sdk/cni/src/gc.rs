use serde::Deserialize;

/// The keys under which GC gets its list of attachments that are to stay: the specification's, and the one that drafts of
/// it had and libcni still sends beside it.
/// <https://github.com/containernetworking/cni/blob/main/SPEC.md#gc-clean-up-any-stale-resources>
pub const VALID_ATTACHMENTS: [&str; 2] = ["cni.dev/valid-attachments", "cni.dev/attachments"];

/// One of that list.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
pub struct Attachment {
    /// `CNI_CONTAINERID` of its ADD.
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// `CNI_IFNAME` of its ADD.
    pub ifname: String,
}
