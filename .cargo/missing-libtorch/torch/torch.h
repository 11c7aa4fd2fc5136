// The compiler finds this only while `.libtorch` is missing (see .cargo/config.toml). A missing include ends the
// compilation at once, so that this line is the only error.
#include "libtorch is not in place: run `cargo xtask libtorch` once"
