//! Reads a JSON configuration and says precisely what is wrong with it.
//!
//! The way of a configuration, from text to a value that serde can trust:
//!
//! 1. [`parse`] turns a file into a [`tree`] whose every node keeps the bytes it came from;
//! 2. `extends` joins a file with the files that it extends;
//! 3. [`overrides`] applies the `--set` flags;
//! 4. [`check`] walks the tree along the JSON schemas of the experiment and of every component that it names, and
//!    collects all mistakes;
//! 5. [`diagnose`] shows them, with `file:line:column`, the underlined text, the valid names and the nearest one.
//!
//! [`load::load`] does all five. Nothing here touches a tensor, and nothing here panics on any input.
//!
//! # The dialect
//!
//! JSON as in RFC 8259, in UTF-8, at most 1 MB (10^6 bytes) with 20,000 values nested at most 128 deep, plus comments
//! (`// ...` to the end of the line and `/* ... */`). Trailing commas, single quotes, unquoted names, `NaN` and `Infinity` are mistakes;
//! they are reported, and reading goes on so that later mistakes are reported as well.

pub mod check;
pub mod diagnose;
pub(crate) mod extends;
pub mod load;
pub mod overrides;
pub mod parse;
mod source;
pub(crate) mod suggest;
pub mod tree;
mod view;

pub use check::Lookup;
pub use diagnose::{Diagnostic, Diagnostics, Label, PlainDiagnostic, Style};
pub use load::{Loaded, SCHEMA_VERSION, load};
pub use source::{Source, Span};
