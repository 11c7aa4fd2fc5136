//! Metrics and plots with a label: several of one sort in an experiment need names of their own.

use isotropy_core::registry::LABEL_FIELD;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::borrow::Cow;

/// Something with a label, if it was given one. In JSON the label is a field beside those of the
/// component, which never sees it.
#[derive(Debug)]
pub struct Labelled<T> {
    /// The label.
    pub label: Option<String>,
    /// What is labelled.
    pub inner: T,
}

impl<T> Labelled<T> {
    /// `LABEL_NAME`, or the name alone.
    pub fn named(&self, name: &str) -> String {
        match &self.label {
            Some(label) => format!("{label}_{name}"),
            None => name.to_string(),
        }
    }
}

impl<T: Serialize> Serialize for Labelled<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut value = serde_json::to_value(&self.inner).map_err(S::Error::custom)?;
        if let Some(label) = &self.label {
            value[LABEL_FIELD] = label.clone().into();
        }
        value.serialize(serializer)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Labelled<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut value = Value::deserialize(deserializer)?;
        let label = value.as_object_mut().and_then(|fields| fields.shift_remove(LABEL_FIELD));
        let label = match label {
            None | Some(Value::Null) => None,
            Some(Value::String(label)) => Some(label),
            Some(other) => {
                return Err(D::Error::custom(format!("`{LABEL_FIELD}` is no name: {other}")));
            }
        };
        let inner = serde_json::from_value(value).map_err(D::Error::custom)?;
        Ok(Self { label, inner })
    }
}

impl<T: JsonSchema> JsonSchema for Labelled<T> {
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_label_goes_around_the_component() {
        #[derive(Debug, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Inner {
            width: f64,
        }
        let text = json!({"width": 0.1, "label": "narrow"});
        let read: Labelled<Inner> = serde_json::from_value(text.clone()).unwrap();
        assert_eq!((read.inner.width, read.named("mmd").as_str()), (0.1, "narrow_mmd"));
        assert_eq!(serde_json::to_value(&read).unwrap(), text);
        let bare: Labelled<Inner> = serde_json::from_value(json!({"width": 2.0})).unwrap();
        assert_eq!(bare.named("mmd"), "mmd");
        assert_eq!(serde_json::to_value(&bare).unwrap(), json!({"width": 2.0}));
        let wrong = serde_json::from_value::<Labelled<Inner>>(json!({"width": 2.0, "label": 3}));
        assert!(wrong.unwrap_err().to_string().contains("label"));
    }
}
