//! Finding every sound frame in a file, with whatever lies between them.
//!
//! A file is read in portions, so a scan needs no more memory than the longest frame.

use std::io::{ErrorKind, Read};

use memchr::memmem::Finder;

use super::{Found, Frame, MAGIC};

/// How much is read at a time.
const PORTION: usize = 256 * 1024;

/// A scan of one file.
pub(in crate::spool) struct Scan<R> {
    source: R,
    finder: Finder<'static>,
    bytes: Vec<u8>,
    /// Where in `bytes` the scan goes on.
    at: usize,
    at_end: bool,
}

impl<R: Read> Scan<R> {
    pub(in crate::spool) fn new(source: R) -> Scan<R> {
        Scan { source, finder: Finder::new(&MAGIC), bytes: Vec::new(), at: 0, at_end: false }
    }

    /// The next sound frame, but no record whose sequence number `wants` refuses: passing over
    /// those without computing their checksums makes most of the speed of a scan.
    pub(in crate::spool) fn next_frame(
        &mut self,
        wants: impl Fn(u64) -> bool,
    ) -> std::io::Result<Option<Frame<'_>>> {
        let range = loop {
            match self.finder.find(&self.bytes[self.at..]) {
                Some(found) => {
                    self.at += found;
                    let bytes = &self.bytes[self.at..];
                    if Frame::claimed_seq(bytes).is_some_and(|seq| !wants(seq)) {
                        self.at += 1;
                        continue;
                    }
                    match Frame::find(bytes) {
                        Found::Frame(frame) => break self.at..self.at + frame.bytes.len(),
                        Found::NeedsBytes if !self.at_end => self.read_on()?,
                        Found::NeedsBytes | Found::NoFrame => self.at += 1,
                    }
                }
                None if self.at_end => return Ok(None),
                None => {
                    // The magic may begin in the last bytes.
                    self.at = self.at.max(self.bytes.len().saturating_sub(MAGIC.len() - 1));
                    self.read_on()?;
                }
            }
        };
        self.at = range.end;
        Ok(Some(Frame::of_sound(&self.bytes[range])))
    }

    /// Drops what was scanned and reads a portion more.
    fn read_on(&mut self) -> std::io::Result<()> {
        self.bytes.drain(..self.at);
        self.at = 0;
        let begun = self.bytes.len();
        self.bytes.resize(begun + PORTION, 0);
        let mut end = begun;
        while end < self.bytes.len() {
            match self.source.read(&mut self.bytes[end..]) {
                Ok(0) => {
                    self.at_end = true;
                    break;
                }
                Ok(read) => end += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.bytes.truncate(end);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::record;
    use super::super::{layout_key, put_record};
    use super::*;

    fn scanned(bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut scan = Scan::new(bytes);
        let mut frames = Vec::new();
        while let Some(frame) = scan.next_frame(|_| true).unwrap() {
            frames.push(frame.bytes.to_vec());
        }
        frames
    }

    fn framed(n: u64) -> Vec<u8> {
        let record = record("a", n);
        let mut bytes = Vec::new();
        put_record(&mut bytes, n + 1, &record, layout_key(&record.draft.layout).unwrap()).unwrap();
        bytes
    }

    #[test]
    fn it_finds_every_whole_frame_in_rubbish() {
        let frames: Vec<_> = (0..5).map(framed).collect();
        let mut bytes = b"rubbish \x89SLVR and \x89SLVR\n\x02".to_vec();
        for frame in &frames {
            bytes.extend(frame);
            bytes.extend(b"\x89SL");
        }
        bytes.extend(&frames[0][..50]);
        assert_eq!(scanned(&bytes), frames);
    }

    #[test]
    fn it_finds_frames_on_the_border_of_two_portions() {
        let frame = framed(1);
        for before in PORTION - frame.len() - 2..PORTION + 2 {
            let mut bytes = vec![0; before];
            bytes.extend(&frame);
            bytes.extend(vec![0x89; 3 * PORTION]);
            bytes.extend(&frame);
            assert_eq!(scanned(&bytes), [frame.clone(), frame.clone()], "{before} bytes before");
        }
    }

    #[test]
    fn records_that_nobody_wants_are_passed_over() {
        let frames: Vec<_> = (0..5).map(framed).collect();
        let bytes = frames.concat();
        let mut scan = Scan::new(&bytes[..]);
        let mut found = Vec::new();
        while let Some(frame) = scan.next_frame(|seq| seq % 2 == 0).unwrap() {
            found.push(frame.bytes.to_vec());
        }
        assert_eq!(found, [frames[1].clone(), frames[3].clone()]);
    }

    #[test]
    fn a_read_error_is_no_end() {
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                Err(std::io::Error::from_raw_os_error(5))
            }
        }
        assert_eq!(Scan::new(Failing).next_frame(|_| true).unwrap_err().raw_os_error(), Some(5));
    }
}
