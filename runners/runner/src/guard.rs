//! Panics inside libtorch (or a component) become errors that name the component.

use crate::output::note;
use isotropy_conformance::panics::{first_line, is_from_libtorch};
use isotropy_core::{Error, Result};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};

thread_local! {
    /// Where the last panic inside a guard happened; `None` outside of guards.
    static CAUGHT: RefCell<Option<String>> = const { RefCell::new(None) };
    static DEPTH: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Installs the panic hook: silent inside a guard, where the panic becomes an error; elsewhere a
/// panic is a defect of the program, and two plain lines say so.
pub fn install_hook() {
    set_hook(Box::new(|info| {
        let place = info.location().map(|l| format!("{}:{}", l.file(), l.line()));
        if DEPTH.get() > 0 {
            CAUGHT.set(place);
            return;
        }
        let place = place.map(|p| format!(" (at {p})")).unwrap_or_default();
        note!("error: {}{place}", first_line(info.payload()));
        note!(" help: this is a defect of the program; please report it with the configuration");
    }));
}

/// Runs a component's code; a panic becomes an error with the component's name and the first line
/// of its message, or of libtorch's.
///
/// # Errors
/// What `f` returns, or the panic.
pub fn guard<T>(component: &str, f: impl FnOnce() -> Result<T>) -> Result<T> {
    DEPTH.set(DEPTH.get() + 1);
    let outcome = catch_unwind(AssertUnwindSafe(f));
    DEPTH.set(DEPTH.get() - 1);
    match outcome {
        Ok(Err(Error::Tensor { component: name, message })) if name.is_empty() => {
            Err(Error::Tensor { component: component.trim_matches('/').to_string(), message })
        }
        Ok(result) => result,
        Err(payload) => {
            let place = CAUGHT.take().map(|p| format!(" (at {p})")).unwrap_or_default();
            let component = component.trim_matches('/');
            let message = format!("{}{place}", first_line(payload.as_ref()));
            if is_from_libtorch(payload.as_ref()) {
                return Err(Error::Tensor { component: component.to_string(), message });
            }
            Err(Error::Other(format!("{component}: {message}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_inside_libtorch_names_the_component_and_the_reason() {
        install_hook();
        let outcome = guard("/model", || {
            let a = tch::Tensor::zeros([2, 3], (tch::Kind::Float, tch::Device::Cpu));
            Ok(a.matmul(&a))
        });
        let text = outcome.expect_err("shapes do not fit").to_string();
        assert!(text.starts_with("model: libtorch: "), "{text}");
        assert!(text.contains("mat1 and mat2"), "{text}");
    }
}
