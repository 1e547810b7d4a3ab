use super::raw;
use std::io::Write;
use std::os::unix::net::UnixStream;
use wasmhook_wasm::{CniError, Phase, PostVerdict, PreVerdict, Report, Request, Usage, Verdict, fuzzing};

/// What a command prints, and what a child sends: the same bytes are tried as both.
pub fn verdict(input: &[u8]) {
    let request = Request {
        verb: "ADD".into(),
        cni_version: "1.0.0".into(),
        container_id: "c1".into(),
        netns: String::new(),
        ifname: "eth0".into(),
        args: Vec::new(),
        network: "n".into(),
        plugin: String::new(),
        config: "{}".into(),
        prev_result: String::new(),
        hook_config: "{}".into(),
        dry_run: false,
        carry: String::new(),
        extra: "{}".into(),
    };
    for phase in [Phase::Pre(request.clone()), Phase::Post(request, Ok("{}".into()))] {
        match fuzzing::verdict(&phase, input) {
            Ok(verdict) => {
                judge(&phase, &verdict, input);
                crosses(verdict);
            }
            Err(why) => assert!(!why.is_empty()),
        }
    }
    if let Some(report) = heard(input) {
        crosses_whole(report);
    }
}

/// It is of its phase, and the JSON in it is what was printed, byte for byte.
fn judge(phase: &Phase, verdict: &Verdict, said: &[u8]) {
    let said = str::from_utf8(said).unwrap();
    let json = match (phase, verdict) {
        (Phase::Pre(_), Verdict::Pre(PreVerdict::Rewrite(json) | PreVerdict::Answer(json)))
        | (Phase::Post(..), Verdict::Post(PostVerdict::Rewrite(json) | PostVerdict::Recover(json))) => json,
        (Phase::Pre(_), Verdict::Pre(PreVerdict::Proceed | PreVerdict::Deny(CniError { .. })))
        | (Phase::Post(..), Verdict::Post(PostVerdict::Keep | PostVerdict::Fail(CniError { .. }))) => return,
        other => panic!("{other:?}"),
    };
    assert!(raw(json).is_some() && said.contains(json.as_str()), "{json}");
}

/// What is one report on this side of the stream is the same one on the other.
fn crosses(verdict: Verdict) {
    crosses_whole(Report { verdict: Ok(verdict), usage: Usage::default() });
}

fn crosses_whole(report: Report) {
    let (ours, theirs) = pair();
    fuzzing::send(&theirs, report.clone()).unwrap();
    assert_eq!(fuzzing::receive(&ours).unwrap(), Some(report));
}

/// What the parent makes of a child that sends these bytes in a frame, and is gone.
fn heard(bytes: &[u8]) -> Option<Report> {
    let (ours, mut theirs) = pair();
    let length = u32::try_from(bytes.len()).unwrap();
    // What does not fit into the stream is a frame cut short.
    let _ = theirs.write(&length.to_le_bytes()).and_then(|_| theirs.write(bytes));
    drop(theirs);
    fuzzing::receive(&ours).ok().flatten()
}

fn pair() -> (UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    theirs.set_nonblocking(true).unwrap();
    (ours, theirs)
}
