//! Hashes of the windows of words of a text: lowered, without masks and punctuation.

/// Words of a window.
pub(super) const WINDOW: usize = 8;

/// Calls `each` with the hash of every window of words, in order.
pub(super) fn windows(text: &str, mut each: impl FnMut(u64)) {
    let mut words = Words::default();
    let bytes = text.as_bytes();
    let mut at = 0;
    let mut masks_end = true;
    while let Some(byte) = bytes.get(at) {
        if byte.is_ascii_alphanumeric() {
            words.letter(u64::from(byte.to_ascii_lowercase()));
            at += 1;
        } else if byte.is_ascii() {
            words.end(&mut each);
            let mask = if masks_end && bytes[at..].starts_with(b"[**") { text[at..].find("**]") } else { Some(0) };
            // Searched for once in vain, the end of a mask is not searched for again.
            masks_end &= mask.is_some();
            at += mask.filter(|end| *end > 0).map_or(1, |end| end + 3);
        } else if let Some(c) = text[at..].chars().next() {
            match c.is_alphanumeric() {
                true => c.to_lowercase().for_each(|low| words.letter(u64::from(low))),
                false => words.end(&mut each),
            }
            at += c.len_utf8();
        }
    }
    words.end(&mut each);
}

/// Hashes of the word being read, of the last words, and of all of these together (a polynomial that rolls).
struct Words {
    word: u64,
    last: [u64; WINDOW],
    seen: usize,
    all: u64,
}

impl Default for Words {
    fn default() -> Words {
        Words { word: FNV_BASIS, last: [0; WINDOW], seen: 0, all: 0 }
    }
}

impl Words {
    fn letter(&mut self, letter: u64) {
        self.word = (self.word ^ letter).wrapping_mul(FNV_PRIME);
    }

    fn end(&mut self, each: &mut impl FnMut(u64)) {
        if self.word == FNV_BASIS {
            return;
        }
        let oldest = std::mem::replace(&mut self.last[self.seen % WINDOW], self.word);
        self.all = self.all.wrapping_mul(MIX).wrapping_add(self.word).wrapping_sub(oldest.wrapping_mul(MIX_OF_OLDEST));
        self.word = FNV_BASIS;
        self.seen += 1;
        if self.seen >= WINDOW {
            let mixed = (self.all ^ (self.all >> 32)).wrapping_mul(MIX);
            each(mixed ^ (mixed >> 29));
        }
    }
}

const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
const MIX_OF_OLDEST: u64 = MIX.wrapping_pow(WINDOW as u32);
