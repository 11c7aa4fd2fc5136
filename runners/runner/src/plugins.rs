//! The plugins that this runner links: a crate that is only listed in Cargo.toml is not linked, so
//! each is named here once. A test compares this list with the folders under `plugins/`.

use isotropy_brownian as _;
use isotropy_diffusion as _;
use isotropy_equivariant_bridges as _;
use isotropy_equivariant_images as _;
use isotropy_gaussian_processes as _;
use isotropy_gp_fields as _;
use isotropy_groups as _;
use isotropy_images as _;
use isotropy_networks as _;
use isotropy_se2_images as _;
use isotropy_toys as _;
