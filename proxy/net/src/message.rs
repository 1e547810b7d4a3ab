//! Netlink's wire format: a header, a fixed part, attributes that may hold attributes.

/// A message that is being written.
#[derive(Debug)]
pub(crate) struct Message(Vec<u8>);

/// `struct nlmsghdr`.
pub(crate) const HEADER: usize = 16;
/// `struct nlattr`.
const ATTRIBUTE: usize = 4;
const NESTED: u16 = libc::NLA_F_NESTED as u16;

impl Message {
    /// A request of this kind, with these flags beside `NLM_F_REQUEST`, and its fixed part.
    pub(crate) fn new(kind: u16, flags: i32, fixed: &[u8]) -> Self {
        let flags = u16::try_from(flags | libc::NLM_F_REQUEST).unwrap_or_default();
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(fixed);
        let mut message = Self(bytes);
        message.pad();
        message
    }

    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// Bytes as they are.
    pub(crate) fn put(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let length = u16::try_from(ATTRIBUTE + value.len()).unwrap_or(u16::MAX);
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.pad();
        self
    }

    pub(crate) fn put_u8(&mut self, kind: u16, value: u8) -> &mut Self {
        self.put(kind, &[value])
    }

    pub(crate) fn put_u16(&mut self, kind: u16, value: u16) -> &mut Self {
        self.put(kind, &value.to_ne_bytes())
    }

    pub(crate) fn put_u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.put(kind, &value.to_ne_bytes())
    }

    /// Text with a zero at its end.
    pub(crate) fn put_text(&mut self, kind: u16, text: &str) -> &mut Self {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        self.put(kind, &bytes)
    }

    /// Attributes in an attribute.
    pub(crate) fn nest(&mut self, kind: u16, inside: impl FnOnce(&mut Self)) -> &mut Self {
        let at = self.0.len();
        self.put(kind | NESTED, &[]);
        inside(self);
        let length = u16::try_from(self.0.len() - at).unwrap_or(u16::MAX);
        self.0[at..at + 2].copy_from_slice(&length.to_ne_bytes());
        self
    }

    /// Bytes that are no attribute, inside one.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self.pad();
        self
    }

    /// Ready to be sent, with this number.
    pub(crate) fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.0
    }
}

/// A message that has come, with what follows its header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reply<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) body: &'a [u8],
}

/// The messages of a datagram. What is cut short is left out.
pub(crate) fn replies(mut bytes: &[u8]) -> impl Iterator<Item = Reply<'_>> {
    std::iter::from_fn(move || {
        let length = read_u32(bytes)? as usize;
        let body = bytes.get(HEADER..length)?;
        let kind = read_u16(&bytes[4..])?;
        let flags = read_u16(&bytes[6..])?;
        let sequence = read_u32(&bytes[8..])?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Reply { kind, flags, sequence, body })
    })
}

/// The attributes in these bytes: kind without its flags, value. What is cut short is left out.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(read_u16(bytes)?);
        let kind = read_u16(bytes.get(2..)?)? & !(NESTED | libc::NLA_F_NET_BYTEORDER as u16);
        let value = bytes.get(ATTRIBUTE..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The value of the first attribute of this kind.
pub(crate) fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

pub(crate) fn read_u16(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.first_chunk()?))
}

pub(crate) fn read_u32(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.first_chunk()?))
}

/// Up to the zero at its end.
pub(crate) fn read_text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut message = Message::new(16, 0, &[1, 2]);
        message.put_text(3, "eth0").nest(18, |inside| {
            inside.put_u32(1, 7).put_u8(2, 1);
        });
        let bytes = message.finish(9);
        let reply = replies(&bytes).next().unwrap();
        assert_eq!((reply.kind, reply.sequence, reply.flags), (16, 9, 1));
        let all = &reply.body[4..];
        assert_eq!(read_text(attribute(all, 3).unwrap()), "eth0");
        let inside = attribute(all, 18).unwrap();
        assert_eq!(attribute(inside, 1).and_then(read_u32), Some(7));
        assert_eq!(attribute(inside, 2), Some(&[1][..]));
        assert_eq!(attribute(inside, 4), None);
    }

    #[test]
    fn what_is_cut_short_is_left_out() {
        let mut message = Message::new(16, 0, &[]);
        // Of a length that needs no padding.
        message.put_text(3, "a longer name!!");
        let bytes = message.finish(1);
        for length in 0..bytes.len() {
            assert_eq!(replies(&bytes[..length]).count(), 0);
            assert_eq!(attributes(bytes[HEADER..].get(..length.saturating_sub(HEADER)).unwrap()).count(), 0);
        }
        // No length at all, and one that leads nowhere.
        assert_eq!(attributes(&[0, 0, 0, 0, 1, 1]).count(), 0);
    }
}
