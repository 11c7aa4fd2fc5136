//! The catalogue as the configuration checker and the command line see it.

use crate::config::Lookup;
use isotropy_core::registry::{self, marked_schema};
use isotropy_core::{Component, Result};
use serde_json::Value;

/// All linked components.
pub struct Catalogue {
    components: Vec<&'static Component>,
}

impl Catalogue {
    /// Collects what is linked.
    ///
    /// # Errors
    /// When two components of a kind share a name.
    pub fn new() -> Result<Self> {
        Ok(Self { components: registry::catalogue()? })
    }

    /// All components, sorted by kind and name.
    pub fn components(&self) -> &[&'static Component] {
        &self.components
    }

    /// The component of that kind and name.
    pub fn find(&self, kind: &str, name: &str) -> Option<&'static Component> {
        self.components.iter().find(|c| c.kind == kind && c.name == name).copied()
    }
}

impl Lookup for Catalogue {
    fn names(&self, kind: &str) -> Vec<String> {
        let of_kind = self.components.iter().filter(|c| c.kind == kind);
        of_kind.map(|component| component.name.to_string()).collect()
    }

    fn schema(&self, kind: &str, name: &str) -> Option<Value> {
        let component = self.find(kind, name)?;
        Some(marked_schema(|generator| registry::properties(component, generator)))
    }
}
