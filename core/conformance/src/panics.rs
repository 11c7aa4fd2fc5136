//! What a panic says, in one line.

use std::any::Any;

/// tch wraps libtorch's text as `called Result::unwrap() on an Err value: Torch("...\n...")`.
const LIBTORCH: &str = "Torch(\"";

/// Whether libtorch's own text stands in a panic's message.
pub fn is_from_libtorch(payload: &(dyn Any + Send)) -> bool {
    text_of(payload).contains(LIBTORCH)
}

/// The first line of what a panic carries; of libtorch's text alone where there is one, without its
/// page of C++ frames.
pub fn first_line(payload: &(dyn Any + Send)) -> &str {
    let text = text_of(payload);
    let text = text.split_once(LIBTORCH).map_or(text, |(_, rest)| rest);
    // Inside of the quotes a line ends with an escaped newline.
    let end = text.find("\\n").or_else(|| text.find('\n')).unwrap_or(text.len());
    text[..end].trim_end_matches("\")")
}

fn text_of(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libtorchs_frames_are_left_out() {
        let refused = std::panic::catch_unwind(|| {
            let a = tch::Tensor::zeros([2, 3], (tch::Kind::Float, tch::Device::Cpu));
            a.matmul(&a)
        });
        let payload = refused.expect_err("shapes that do not fit");
        let line = first_line(payload.as_ref());
        assert!(line.contains("mat1 and mat2") && !line.contains("frame"), "{line}");
        assert!(line.len() < 120 && !line.contains('\n'), "{line}");
        assert!(is_from_libtorch(payload.as_ref()));
        let own = std::panic::catch_unwind(|| panic!("one\ntwo")).expect_err("a panic");
        assert_eq!(first_line(own.as_ref()), "one");
        assert!(!is_from_libtorch(own.as_ref()));
    }
}
