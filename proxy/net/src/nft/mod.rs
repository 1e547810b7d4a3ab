//! nftables: all that a table holds, in one transaction.

mod rule;

use crate::message::Message;
use crate::netlink::{Refused, Socket};
use crate::stack::refused;
use nix::errno::Errno;
use nix::sys::socket::SockProtocol;
use wasmhook_net_types::{Chain, ChainKind, Family, Hook, NetError, Policy, Ruleset};

const NFTABLES: u16 = libc::NFNL_SUBSYS_NFTABLES as u16;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_TABLE: u16 = 0;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;
const CREATE: i32 = libc::NLM_F_CREATE;
const APPEND: i32 = libc::NLM_F_APPEND;
/// Names of tables and chains.
const NAME: u16 = 1;

/// Makes the table hold exactly this.
pub(crate) fn set(table: &str, rules: &Ruleset) -> Result<(), NetError> {
    let family = rules.family;
    let make = || {
        let mut message = message(NEW_TABLE, CREATE, family);
        message.put_text(NAME, table);
        message
    };
    // Whatever there was goes; so that there is something to go, it is made first.
    let mut messages = vec![make(), delete(table, family), make()];
    for chain in &rules.chains {
        judge_name(&chain.name)?;
        messages.push(chain_message(table, family, chain));
        for rule in &chain.rules {
            let expressions = rule::expressions(family, rule)?;
            let mut message = message(NEW_RULE, CREATE | APPEND, family);
            message.put_text(1, table).put_text(2, &chain.name).nest(4, |list| {
                for expression in &expressions {
                    expression.put(list);
                }
            });
            if let Some(comment) = &rule.comment {
                message.put(7, &rule::comment(comment)?);
            }
            messages.push(message);
        }
    }
    send(messages).map_err(|error| not_done(table, error))
}

/// Takes it away, with all that it holds.
pub(crate) fn remove(table: &str, family: Family) -> Result<(), NetError> {
    send(vec![delete(table, family)]).map_err(|error| match error.errno {
        Errno::ENOENT => NetError::NotFound(format!("nftables' table {table:?}: there is none")),
        _ => not_done(table, error),
    })
}

fn delete(table: &str, family: Family) -> Message {
    let mut message = message(DELETE_TABLE, 0, family);
    message.put_text(NAME, table);
    message
}

fn send(messages: Vec<Message>) -> Result<(), Refused> {
    let mut socket = Socket::open(SockProtocol::NetlinkNetFilter)?;
    // `struct nfgenmsg`, with the subsystem in network order.
    let whole = |kind| Message::new(kind, 0, &[&[0, 0][..], &NFTABLES.to_be_bytes()].concat());
    socket.transaction(whole(BATCH_BEGIN), messages, whole(BATCH_END))
}

fn message(kind: u16, flags: i32, family: Family) -> Message {
    Message::new(NFTABLES << 8 | kind, flags, &[number(family), 0, 0, 0])
}

fn number(family: Family) -> u8 {
    match family {
        Family::Inet => 1,
        Family::Ip => 2,
        Family::Ip6 => 10,
    }
}

fn chain_message(table: &str, family: Family, chain: &Chain) -> Message {
    let hook: u32 = match chain.hook {
        Hook::Prerouting => 0,
        Hook::Input => 1,
        Hook::Forward => 2,
        Hook::Output => 3,
        Hook::Postrouting => 4,
    };
    let policy: u32 = match chain.policy {
        Policy::Drop => 0,
        Policy::Accept => 1,
    };
    let kind = match chain.kind {
        ChainKind::Filter => "filter",
        ChainKind::Nat => "nat",
    };
    let mut message = message(NEW_CHAIN, CREATE, family);
    message.put_text(1, table).put_text(3, &chain.name).nest(4, |at| {
        at.put(1, &hook.to_be_bytes()).put(2, &chain.priority.to_be_bytes());
    });
    message.put(5, &policy.to_be_bytes()).put_text(7, kind);
    message
}

fn judge_name(name: &str) -> Result<(), NetError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    if (1..=31).contains(&name.len()) && name.chars().all(plain) {
        return Ok(());
    }
    Err(NetError::Invalid(format!(
        "{name:?} is no name for a chain: 1 to 31 letters, digits, `_`, `-`, `.`, `/`"
    )))
}

fn not_done(table: &str, error: Refused) -> NetError {
    let what = format!("nftables' table {table:?}");
    match error.errno {
        Errno::EPROTONOSUPPORT | Errno::EAFNOSUPPORT | Errno::EOPNOTSUPP => NetError::Unsupported(format!(
            "{what}: this node's kernel lacks what it needs (`modprobe nf_tables`)"
        )),
        // Of an expression that the kernel does not have: all that is asked for is known to it otherwise.
        Errno::ENOENT => NetError::Unsupported(format!(
            "{what}: this node's kernel lacks a chain's type or an expression (`modprobe nft_nat nft_masq nft_chain_nat`)"
        )),
        _ => refused(what, error),
    }
}
