//! Recordings, as files.

use tcpclose::recording::Reader;

/// Reads one as it is, and again with its checksums put right: no mutation would get past them.
pub fn recording(data: &[u8]) {
    read(data);
    read(&with_right_checksums(data));
}

fn read(file: &[u8]) {
    let whole = entries(file);
    // Of one that was cut all is read that is whole.
    let cut = file.len() - usize::from(file.last().copied().unwrap_or(0)).min(file.len());
    let before = entries(&file[..cut]);
    assert!(before <= whole);
}

/// Number of the entries before the first that is broken, after reading all of the file.
fn entries(file: &[u8]) -> usize {
    let mut entries = 0;
    let mut is_broken = false;
    let Ok(mut reader) = Reader::new(file) else {
        return entries;
    };
    loop {
        match reader.next_entry() {
            Ok(Some(_)) if is_broken => {}
            Ok(Some(_)) => entries += 1,
            Ok(None) => return entries,
            Err(broken) => {
                assert!(broken.offset <= file.len() as u64);
                assert!(!broken.to_string().contains('\n'));
                let Some(resumed_at) = broken.resumed_at else {
                    assert!(matches!(reader.next_entry(), Ok(None)));
                    return entries;
                };
                assert!(broken.offset < resumed_at);
                is_broken = true;
            }
        }
    }
}

/// A frame's header: kind and three zeros, stored length, length, checksum (docs/recording.md).
const HEADER_SIZE: usize = 16;

fn with_right_checksums(data: &[u8]) -> Vec<u8> {
    let mut file = data.to_vec();
    let mut rest = match file.iter().position(|byte| *byte == b'\n') {
        Some(end) => &mut file[end + 1..],
        None => return file,
    };
    while let Some((header, behind)) = rest.split_at_mut_checked(HEADER_SIZE) {
        let stored = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
        let Some((stored, behind)) = behind.split_at_mut_checked(stored as usize) else {
            break;
        };
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&header[..12]);
        checksum.update(stored);
        header[12..].copy_from_slice(&checksum.finalize().to_le_bytes());
        rest = behind;
    }
    file
}
