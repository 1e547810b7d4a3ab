use std::fmt;

/// Patterns of which a text must fit one; those with `!` in front it must not fit. `*` stands for any characters, `?` for one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Patterns {
    wanted: Vec<String>,
    unwanted: Vec<String>,
}

impl Patterns {
    /// At least one, and none that is empty: that fits nothing that a runtime says.
    pub(super) fn new(texts: Vec<String>) -> Result<Self, String> {
        let mut patterns = Self::default();
        for text in texts {
            match text.strip_prefix('!') {
                _ if text.is_empty() || text == "!" => {
                    return Err(format!("{text:?}: write a pattern, such as \"shop-*\" or \"!kube-system\""));
                }
                Some(unwanted) => patterns.unwanted.push(unwanted.to_owned()),
                None => patterns.wanted.push(text),
            }
        }
        if patterns == Self::default() {
            return Err("an empty list fits nothing: write a pattern, or leave it out".into());
        }
        Ok(patterns)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        self.wanted.iter().chain(&self.unwanted).map(String::as_str)
    }

    /// What is not known fits only where nothing is wanted.
    pub(super) fn fit(&self, text: Option<&str>) -> bool {
        let fits = |patterns: &[String]| text.is_some_and(|text| patterns.iter().any(|it| glob(it, text)));
        (self.wanted.is_empty() || fits(&self.wanted)) && !fits(&self.unwanted)
    }
}

impl fmt::Display for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wanted = self.wanted.iter().map(|it| format!("{it:?}"));
        let unwanted = self.unwanted.iter().map(|it| format!("\"!{it}\""));
        f.write_str(&wanted.chain(unwanted).collect::<Vec<_>>().join(", "))
    }
}

/// A star that turns out too short takes one character more: linear in most cases, and never worse than the product of
/// both lengths.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(b'?') => {
                p += 1;
                t = end_of_char(text, t);
            }
            Some(byte) if *byte == text[t] => (p, t) = (p + 1, t + 1),
            _ => {
                let Some((at, from)) = star else { return false };
                (p, t) = (at + 1, from + 1);
                star = Some((at, from + 1));
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

fn end_of_char(text: &[u8], from: usize) -> usize {
    let continues = |byte: &&u8| **byte & 0xc0 == 0x80;
    from + 1 + text[from + 1..].iter().take_while(continues).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_characters_and_a_question_mark_is_one() {
        for (pattern, text, fits) in [
            ("shop-*", "shop-a", true),
            ("shop-*", "shop-", true),
            ("shop-*", "shop", false),
            ("*-db", "a-b-db", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("?", "ü", true),
            ("??", "ü", false),
            ("s?op", "shop", true),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a**b", "ab", true),
        ] {
            assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
        }
        assert!(!glob(&"a*".repeat(50), &"a".repeat(2000).replace("aa", "ab")[..1999].replace('a', "c")));
    }

    #[test]
    fn what_is_unwanted_wins_and_what_is_not_known_is_not_wanted() {
        let patterns =
            |texts: &[&str]| Patterns::new(texts.iter().map(|it| (*it).to_owned()).collect()).unwrap();
        let shops = patterns(&["shop-*", "!shop-db"]);
        assert!(
            shops.fit(Some("shop-a"))
                && !shops.fit(Some("shop-db"))
                && !shops.fit(Some("x"))
                && !shops.fit(None)
        );
        let others = patterns(&["!kube-*"]);
        assert!(others.fit(Some("x")) && others.fit(None) && !others.fit(Some("kube-system")));
        assert_eq!(shops.to_string(), r#""shop-*", "!shop-db""#);
        for wrong in [&[][..], &[""], &["!"], &["a", ""]] {
            Patterns::new(wrong.iter().map(|it| (*it).to_owned()).collect()).unwrap_err();
        }
    }
}
