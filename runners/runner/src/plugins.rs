//! The plugins that this runner links: a crate that is only listed in Cargo.toml is not linked, so
//! each is named here once. A test compares this list with the folders under `plugins/`.

use isotropy_brownian as _;
use isotropy_equivariant_bridges as _;
use isotropy_gp_fields as _;
use isotropy_groups as _;
use isotropy_lie as _;
use isotropy_networks as _;
use isotropy_rotated_digits as _;
use isotropy_symmetric_images as _;
