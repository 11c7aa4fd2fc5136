//! The plugins that this runner links: a crate that is only listed in Cargo.toml is not linked, so
//! each is named here once. A test compares this list with the folders under `plugins/`.

use isotropy_brownian as _;
use isotropy_groups as _;
use isotropy_lie as _;
use isotropy_networks as _;
use isotropy_rotated_digits as _;
