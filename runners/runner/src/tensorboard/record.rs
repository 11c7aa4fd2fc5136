//! The framing of an event file: length, masked CRC of the length, payload, masked CRC of the payload.

/// Bytes that a record adds to its payload.
const OVERHEAD: usize = 16;

/// TensorFlow's mask: a CRC of data that contain CRCs would be weak (tsl/lib/hash/crc32c.h).
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Appends one record.
pub(super) fn append(buffer: &mut Vec<u8>, payload: &[u8]) {
    let length = (payload.len() as u64).to_le_bytes();
    buffer.extend_from_slice(&length);
    buffer.extend_from_slice(&masked_crc(&length).to_le_bytes());
    buffer.extend_from_slice(payload);
    buffer.extend_from_slice(&masked_crc(payload).to_le_bytes());
}

/// What stands at a place in a file.
#[derive(Debug, PartialEq)]
pub(super) enum Next<'a> {
    /// A record with its payload, and where the next one starts.
    Record(&'a [u8], usize),
    /// The end, exactly after a record.
    End,
    /// The file ends within a record, as a killed writer leaves it.
    Cut,
    /// A checksum is wrong.
    Damaged,
}

/// Reads the record at `position`.
pub(super) fn next(file: &[u8], position: usize) -> Next<'_> {
    let rest = &file[position..];
    if rest.is_empty() {
        return Next::End;
    }
    let Some((length, after)) = rest.split_first_chunk::<8>() else { return Next::Cut };
    let Some((length_crc, after)) = after.split_first_chunk::<4>() else { return Next::Cut };
    if masked_crc(length) != u32::from_le_bytes(*length_crc) {
        return Next::Damaged;
    }
    let Ok(length) = usize::try_from(u64::from_le_bytes(*length)) else { return Next::Damaged };
    let Some((payload, after)) = after.split_at_checked(length) else { return Next::Cut };
    let Some(crc) = after.first_chunk::<4>() else { return Next::Cut };
    if masked_crc(payload) != u32::from_le_bytes(*crc) {
        return Next::Damaged;
    }
    Next::Record(payload, position + length + OVERHEAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_and_damage_is_seen() {
        let mut file = Vec::new();
        append(&mut file, b"first");
        let second = file.len();
        append(&mut file, b"");
        assert_eq!(next(&file, 0), Next::Record(b"first", second));
        assert_eq!(next(&file, second), Next::Record(b"", second + OVERHEAD));
        assert_eq!(next(&file, second + OVERHEAD), Next::End);
        for cut in 1..second {
            assert_eq!(next(&file[..cut], 0), Next::Cut, "{cut}");
        }
        for place in 0..second {
            let mut damaged = file.clone();
            damaged[place] ^= 4;
            assert_eq!(next(&damaged, 0), Next::Damaged, "{place}");
        }
    }
}
