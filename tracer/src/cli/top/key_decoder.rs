//! Turns what terminals send into keys.

use crate::output::top::Key;

/// The longest sequence that is waited for; none that means a key is as long.
const MAX_SEQUENCE_LEN: usize = 32;
const ESCAPE: u8 = 0x1b;

/// Bytes that are not a whole key yet.
#[derive(Debug, Default)]
pub(super) struct KeyDecoder {
    pending: Vec<u8>,
}

impl KeyDecoder {
    /// Takes bytes, and returns the keys that are complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Key> {
        self.pending.extend_from_slice(bytes);
        let mut keys = Vec::new();
        while let Some(len) = self.first_len() {
            let sequence: Vec<u8> = self.pending.drain(..len).collect();
            keys.extend(key(&sequence));
        }
        if self.pending.len() > MAX_SEQUENCE_LEN {
            self.pending.clear();
        }
        keys
    }

    /// Returns whether more may follow.
    pub fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Returns the keys that the bytes are if no more follow.
    pub fn end(&mut self) -> Vec<Key> {
        if self.pending.first() != Some(&ESCAPE) {
            self.pending.clear();
            return Vec::new();
        }
        let rest = self.pending.split_off(1);
        self.pending.clear();
        let mut keys = vec![Key::Escape];
        keys.extend(self.feed(&rest));
        keys
    }

    /// Returns the length of the first key; `None` if it is not complete.
    fn first_len(&self) -> Option<usize> {
        let pending = &*self.pending;
        match *pending {
            [] | [ESCAPE] | [ESCAPE, b'['] | [ESCAPE, b'O'] => None,
            [ESCAPE, b'[', ..] => {
                let is_final = |byte: &u8| (0x40..=0x7e).contains(byte);
                let last = pending[2..].iter().position(is_final)?;
                Some(last + 3)
            }
            [ESCAPE, b'O', ..] => Some(3),
            // What was typed right behind the escape key, or with the alt key.
            [ESCAPE, ..] => Some(1),
            [first, ..] => {
                let len = match first {
                    0xc0..=0xdf => 2,
                    0xe0..=0xef => 3,
                    0xf0..=0xf7 => 4,
                    _ => 1,
                };
                (pending.len() >= len).then_some(len)
            }
        }
    }
}

fn key(sequence: &[u8]) -> Option<Key> {
    Some(match *sequence {
        [ESCAPE] => Key::Escape,
        [ESCAPE, b'[' | b'O', .., last] => match last {
            b'A' => Key::Up,
            b'B' => Key::Down,
            b'C' => Key::Right,
            b'D' => Key::Left,
            b'H' => Key::Home,
            b'F' => Key::End,
            b'Z' => Key::BackTab,
            b'M' if sequence[1] == b'O' => Key::Enter,
            b'~' => match sequence.get(2)? {
                b'1' | b'7' => Key::Home,
                b'4' | b'8' => Key::End,
                b'5' => Key::PageUp,
                b'6' => Key::PageDown,
                _ => return None,
            },
            _ => return None,
        },
        [b'\r' | b'\n'] => Key::Enter,
        [b'\t'] => Key::Tab,
        [0x7f | 0x08] => Key::Backspace,
        [control @ 1..=26] => Key::Control(char::from(control + b'a' - 1)),
        _ => {
            let text = std::str::from_utf8(sequence).ok()?;
            let character = text.chars().next().filter(|it| !it.is_control())?;
            Key::Char(character)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let mut decoder = KeyDecoder::default();
        let mut keys = decoder.feed(bytes);
        keys.extend(decoder.end());
        keys
    }

    #[test]
    fn sequences_of_all_usual_terminals_are_known() {
        for (bytes, key) in [
            (&b"\x1b[A"[..], Key::Up),
            (b"\x1bOB", Key::Down),
            (b"\x1b[1;5C", Key::Right),
            (b"\x1b[H", Key::Home),
            (b"\x1b[1~", Key::Home),
            (b"\x1b[8~", Key::End),
            (b"\x1b[5~", Key::PageUp),
            (b"\x1b[6;2~", Key::PageDown),
            (b"\x1b[Z", Key::BackTab),
            (b"\x1bOM", Key::Enter),
            (b"\r", Key::Enter),
            (b"\x7f", Key::Backspace),
            (b"\x03", Key::Control('c')),
            (b"\x1a", Key::Control('z')),
            (b"q", Key::Char('q')),
            ("数".as_bytes(), Key::Char('数')),
            (b"\x1b", Key::Escape),
        ] {
            assert_eq!(keys(bytes), [key], "{bytes:?}");
        }
        assert_eq!(keys(b"\x1b5"), [Key::Escape, Key::Char('5')]);
        assert_eq!(keys(b"\x1b\x1b[A"), [Key::Escape, Key::Up]);
    }

    #[test]
    fn a_sequence_may_come_in_pieces() {
        let mut decoder = KeyDecoder::default();
        for piece in [&b"a\x1b"[..], b"[1", b";5"] {
            assert!(decoder.feed(piece).len() <= 1);
            assert!(decoder.is_waiting());
        }
        assert_eq!(decoder.feed(b"Dx"), [Key::Left, Key::Char('x')]);
        assert!(!decoder.is_waiting());
    }

    #[test]
    fn what_means_no_key_is_left_out() {
        assert_eq!(keys(b"\x1b[200~\x1b[3~\x00\x1b[Iq"), [Key::Char('q')]);
        assert_eq!(keys(b"\xff\xfeq\xe6"), [Key::Char('q')]);
        let mut endless = b"\x1b[".to_vec();
        endless.resize(4_096, b'1');
        assert_eq!(keys(&endless), []);
    }
}
