//! Numbers and names of HDF5 datasets, whatever integer type, byte order or kind of string they
//! were written in.

use hdf5_reader::error::Error as Hdf5Error;
use hdf5_reader::{ByteOrder, Dataset, Datatype, H5Type, SliceInfo, SliceInfoElem};

/// A whole number of any type that HDF5 has: 1 to 8 bytes, signed or not, of both byte orders, an
/// enumeration (which truth values are), or bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Integer(i64);

impl H5Type for Integer {
    fn hdf5_type() -> Datatype {
        Datatype::FixedPoint { size: 8, signed: true, byte_order: ByteOrder::LittleEndian }
    }

    fn from_bytes(bytes: &[u8], dtype: &Datatype) -> hdf5_reader::error::Result<Self> {
        let (size, signed, order) = kind(dtype).ok_or_else(|| Hdf5Error::TypeMismatch {
            expected: "integers".into(),
            actual: format!("{dtype:?}"),
        })?;
        let bytes = bytes.get(..size).ok_or_else(|| {
            Hdf5Error::InvalidData(format!("expected {size} bytes, got {}", bytes.len()))
        })?;
        let add = |sum: u64, byte: &u8| (sum << 8) | u64::from(*byte);
        let bits = match order {
            ByteOrder::BigEndian => bytes.iter().fold(0, add),
            ByteOrder::LittleEndian => bytes.iter().rev().fold(0, add),
        };
        let unused = 64 - 8 * size as u32;
        if signed {
            return Ok(Self((bits << unused).cast_signed() >> unused));
        }
        i64::try_from(bits)
            .map(Self)
            .map_err(|_| Hdf5Error::InvalidData(format!("{bits} is beyond 63 bits")))
    }

    fn element_size(dtype: &Datatype) -> usize {
        kind(dtype).map_or(1, |(size, ..)| size)
    }
}

/// Bytes, sign and byte order of a type of whole numbers.
fn kind(dtype: &Datatype) -> Option<(usize, bool, ByteOrder)> {
    match dtype {
        Datatype::FixedPoint { size: size @ 1..=8, signed, byte_order } => {
            Some((usize::from(*size), *signed, *byte_order))
        }
        Datatype::Bitfield { size: size @ 1..=8, byte_order } => {
            Some((usize::from(*size), false, *byte_order))
        }
        Datatype::Enum { base, .. } => kind(base),
        _ => None,
    }
}

fn unreadable(dataset: &Dataset, error: &Hdf5Error) -> String {
    match kind(dataset.dtype()) {
        Some(_) if error.to_string().contains("unsupported filter") => {
            format!("cannot be read: {error}; `h5repack -f GZIP=6 OLD NEW` writes it without")
        }
        Some(_) => format!("cannot be read: {error}"),
        None => format!("holds {:?}, not integers", dataset.dtype()),
    }
}

/// Bytes of the items `start .. end`, row by row, of integers from 0 to 255.
///
/// # Errors
/// What is wrong, to follow the name of the dataset.
pub fn slab(dataset: &Dataset, start: u64, end: u64) -> Result<Vec<u8>, String> {
    let all = || SliceInfoElem::Slice { start: 0, end: u64::MAX, step: 1 };
    let mut selections = vec![SliceInfoElem::Slice { start, end, step: 1 }];
    selections.resize_with(dataset.shape().len(), all);
    let selection = SliceInfo { selections };
    let unreadable = |error| unreadable(dataset, &error);
    if let Datatype::FixedPoint { size: 1, signed: false, .. } = dataset.dtype() {
        // What is usual takes the least memory.
        return Ok(dataset.read_slice::<u8>(&selection).map_err(unreadable)?.into_iter().collect());
    }
    let numbers = dataset.read_slice::<Integer>(&selection).map_err(unreadable)?;
    let byte = |Integer(number)| {
        u8::try_from(number).map_err(|_| format!("holds {number}, which is no byte (0 to 255)"))
    };
    numbers.into_iter().map(byte).collect()
}

/// Labels: the places of names among `names`, or whole numbers as they are.
///
/// # Errors
/// What is wrong, to follow the name of the dataset.
pub fn labels(dataset: &Dataset, names: &[String]) -> Result<Vec<i64>, String> {
    let place =
        |name: &str| {
            let name = name.trim_end_matches('\0').trim();
            names.iter().position(|known| known == name).map(|k| k as i64).ok_or_else(|| {
                format!("holds the name '{name}', which is none of {names:?} (`names`)")
            })
        };
    if let Datatype::String { .. } | Datatype::VarLen { .. } = dataset.dtype() {
        let strings = dataset.read_strings().map_err(|error| format!("cannot be read: {error}"))?;
        return strings.iter().map(|name| place(name)).collect();
    }
    let numbers = dataset.read_array::<Integer>().map_err(|error| unreadable(dataset, &error))?;
    // An enumeration of known names says what its numbers stand for; another one (a truth value) is
    // its numbers.
    if let Datatype::Enum { base, members } = dataset.dtype()
        && members.iter().any(|member| names.contains(&member.name))
    {
        let known: Vec<(Integer, &str)> = members
            .iter()
            .map(|member| Ok((Integer::from_bytes(&member.value, base)?, member.name.as_str())))
            .collect::<Result<_, Hdf5Error>>()
            .map_err(|error| format!("has an enumeration that cannot be read: {error}"))?;
        let named = |code: Integer| match known.iter().find(|(value, _)| *value == code) {
            Some((_, name)) => place(name),
            None => Err(format!("holds {}, which its enumeration does not name", code.0)),
        };
        return numbers.into_iter().map(named).collect();
    }
    let label = |Integer(label)| match label {
        0.. => Ok(label),
        _ => Err(format!("holds the label {label}; labels count from 0")),
    };
    numbers.into_iter().map(label).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_every_size_sign_and_order_are_read() {
        for size in 1..=8_u8 {
            for signed in [false, true] {
                for byte_order in [ByteOrder::LittleEndian, ByteOrder::BigEndian] {
                    let dtype = Datatype::FixedPoint { size, signed, byte_order };
                    for number in [0_i64, 1, 100, if signed { -3 } else { 7 }] {
                        let whole = number.to_be_bytes();
                        let mut bytes = whole[8 - usize::from(size)..].to_vec();
                        if byte_order == ByteOrder::LittleEndian {
                            bytes.reverse();
                        }
                        let read = Integer::from_bytes(&bytes, &dtype).unwrap();
                        assert_eq!(read, Integer(number), "{dtype:?}");
                    }
                }
            }
        }
        let dtype =
            Datatype::FixedPoint { size: 8, signed: false, byte_order: ByteOrder::BigEndian };
        assert!(Integer::from_bytes(&[255; 8], &dtype).is_err());
    }
}
