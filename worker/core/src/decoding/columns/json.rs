//! Whether a text is JSON that every reader takes.
//!
//! The grammar is that of RFC 8259. Databases take more than readers do, so three things are narrower than
//! what some of them store: an escaped surrogate stands in a pair (DuckDB refuses the whole file otherwise),
//! values nest at most [`DEPTH_MAX`] deep (MySQL's own limit; parsers stop between 100 and 1,000), and a number
//! has at most [`NUMBER_BYTES_MAX`] bytes (Jackson's limit, by which Spark and Trino read) and is finite as a
//! double. Nothing is allocated, and nothing is recursive.

/// Deepest nesting of arrays and objects.
pub(super) const DEPTH_MAX: u32 = 100;
/// Longest number.
pub(super) const NUMBER_BYTES_MAX: usize = 1000;
/// Digits that every double of no exponent has room for.
const DIGITS_FINITE: usize = 308;

/// Whether `text` is one JSON value that every reader takes. Whether it is UTF-8 is another question.
pub(super) fn is_portable(text: &[u8]) -> bool {
    Scanner { text, at: 0, objects: 0, depth: 0 }.document().is_some()
}

/// A place in a text, and the containers that are open there.
struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    /// One bit for each open container, the innermost being the lowest: whether it is an object.
    objects: u128,
    depth: u32,
}

impl Scanner<'_> {
    fn document(&mut self) -> Option<()> {
        loop {
            self.space();
            if self.begins_items()? {
                continue;
            }
            // a value is over: go on behind it
            loop {
                self.space();
                if self.depth == 0 {
                    return (self.at == self.text.len()).then_some(());
                }
                match (self.next()?, self.in_object()) {
                    (b',', true) => {
                        self.space();
                        self.key()?;
                        break;
                    }
                    (b',', false) => break,
                    (b'}', true) | (b']', false) => self.leave(),
                    _ => return None,
                }
            }
        }
    }

    /// Takes a value, or the start of a container that is not empty; says whether it was such a start.
    fn begins_items(&mut self) -> Option<bool> {
        match self.next()? {
            b'{' => {
                self.enter(true)?;
                self.space();
                if self.takes(b'}') {
                    self.leave();
                    return Some(false);
                }
                self.key()?;
                return Some(true);
            }
            b'[' => {
                self.enter(false)?;
                self.space();
                if self.takes(b']') {
                    self.leave();
                    return Some(false);
                }
                return Some(true);
            }
            b'"' => self.string()?,
            b't' => self.word(b"rue")?,
            b'f' => self.word(b"alse")?,
            b'n' => self.word(b"ull")?,
            b'-' | b'0'..=b'9' => {
                self.at -= 1;
                self.number()?;
            }
            _ => return None,
        }
        Some(false)
    }

    fn next(&mut self) -> Option<u8> {
        let byte = *self.text.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn takes(&mut self, wanted: u8) -> bool {
        let found = self.text.get(self.at) == Some(&wanted);
        self.at += usize::from(found);
        found
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.get(self.at) {
            self.at += 1;
        }
    }

    fn enter(&mut self, object: bool) -> Option<()> {
        self.depth += 1;
        self.objects = self.objects << 1 | u128::from(object);
        (self.depth <= DEPTH_MAX).then_some(())
    }

    const fn leave(&mut self) {
        self.depth -= 1;
        self.objects >>= 1;
    }

    const fn in_object(&self) -> bool {
        self.objects & 1 == 1
    }

    fn word(&mut self, rest: &[u8]) -> Option<()> {
        self.text.get(self.at..)?.starts_with(rest).then_some(())?;
        self.at += rest.len();
        Some(())
    }

    fn key(&mut self) -> Option<()> {
        self.takes(b'"').then_some(())?;
        self.string()?;
        self.space();
        self.takes(b':').then_some(())
    }

    /// What follows an opening quote, the closing one included.
    fn string(&mut self) -> Option<()> {
        loop {
            let rest = self.text.get(self.at..)?;
            let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
            self.at += rest.iter().position(special)?;
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => self.escape()?,
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        match self.next()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => match self.unit()? {
                0xD800..=0xDBFF => {
                    self.word(b"\\u")?;
                    matches!(self.unit()?, 0xDC00..=0xDFFF).then_some(())
                }
                0xDC00..=0xDFFF => None,
                _ => Some(()),
            },
            _ => None,
        }
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        self.at += 4;
        digits.iter().try_fold(0, |unit, digit| {
            char::from(*digit).to_digit(16).map(|digit| unit << 4 | digit)
        })
    }

    fn number(&mut self) -> Option<()> {
        let start = self.at;
        self.takes(b'-');
        let whole = match self.next()? {
            b'0' => 1,
            b'1'..=b'9' => 1 + self.digits(),
            _ => return None,
        };
        if self.takes(b'.') && self.digits() == 0 {
            return None;
        }
        let mut exponent = false;
        if self.takes(b'e') || self.takes(b'E') {
            exponent = true;
            let _sign = self.takes(b'+') || self.takes(b'-');
            if self.digits() == 0 {
                return None;
            }
        }
        let number = self.text.get(start..self.at)?;
        if number.len() > NUMBER_BYTES_MAX {
            return None;
        }
        if !exponent && whole <= DIGITS_FINITE {
            return Some(());
        }
        let number: f64 = std::str::from_utf8(number).ok()?.parse().ok()?;
        number.is_finite().then_some(())
    }

    fn digits(&mut self) -> usize {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        count
    }
}

#[cfg(test)]
mod tests;
