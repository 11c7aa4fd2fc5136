//! Every configuration and every component, at length (`cargo xtask test --slow`).
