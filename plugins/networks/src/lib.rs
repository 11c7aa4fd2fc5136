//! Layers and networks
