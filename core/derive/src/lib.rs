//! The attributes of components. Both are used through `isotropy_core`, which holds everything that
//! they expand to: a plugin that uses them needs no line for serde, schemars, typetag or inventory.

use proc_macro::TokenStream;
use proc_macro2::{Span, TokenStream as Tokens};
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::{Data, DeriveInput, Expr, Ident, ItemImpl, LitStr, Token, Type, parse_macro_input};

/// What JSON describes: derives `Debug`, `Serialize`, `Deserialize` and `JsonSchema`.
///
/// A struct refuses unknown fields; with `#[config(default)]` fields that are left out take their
/// values from `Default`. The variants of an enum are written in kebab case.
///
/// ```ignore
/// /// The rotations of the plane by quarter turns.
/// #[config(default)]
/// #[derive(Clone)]
/// pub struct QuarterTurnsConfig {
///     /// How many turns there are.
///     pub order: u32,
/// }
/// ```
#[proc_macro_attribute]
pub fn config(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as DeriveInput);
    expand_config(arguments.into(), &item).unwrap_or_else(syn::Error::into_compile_error).into()
}

fn expand_config(arguments: Tokens, item: &DeriveInput) -> syn::Result<Tokens> {
    let default = match arguments.to_string().as_str() {
        "" => quote!(),
        "default" => quote!(#[serde(default)]),
        _ => {
            let message = "it takes `default` or nothing";
            return Err(syn::Error::new_spanned(arguments, message));
        }
    };
    let strict = match &item.data {
        Data::Enum(_) => quote!(#[serde(rename_all = "kebab-case")]),
        _ => quote!(#[serde(deny_unknown_fields)]),
    };
    Ok(quote! {
        #[derive(
            Debug,
            ::isotropy_core::serde::Serialize,
            ::isotropy_core::serde::Deserialize,
            ::isotropy_core::schemars::JsonSchema,
        )]
        #[serde(crate = "::isotropy_core::serde")]
        #[schemars(crate = "::isotropy_core::schemars")]
        #strict
        #default
        #item
    })
}

/// `"name", "summary", example`.
struct Registered {
    name: LitStr,
    summary: LitStr,
    example: Expr,
}

impl Parse for Registered {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let name = input.parse()?;
        input.parse::<Token![,]>()?;
        let summary = input.parse()?;
        input.parse::<Token![,]>()?;
        let example = input.parse()?;
        input.parse::<Option<Token![,]>>()?;
        Ok(Self { name, summary, example })
    }
}

/// The configuration traits and the kinds that they stand for in the catalogue.
const KINDS: [(&str, &str); 11] = [
    ("CovarianceKernelConfig", "kernel"),
    ("DatasetConfig", "dataset"),
    ("GroupConfig", "group"),
    ("MetricConfig", "metric"),
    ("ModelConfig", "model"),
    ("ObjectiveConfig", "objective"),
    ("PlotConfig", "plot"),
    ("ProcessConfig", "process"),
    ("RepresentationConfig", "representation"),
    ("SamplerConfig", "sampler"),
    ("ScheduleConfig", "schedule"),
];

/// Registers the component that a configuration builds: its name in JSON (`"type"`), a summary of
/// one line, and an example that must build, on the `impl` of the trait of its kind.
///
/// ```ignore
/// #[component("so2", "rotations of the plane", r#"{"type": "so2"}"#)]
/// impl GroupConfig for So2Config {
///     fn build(&self) -> Result<Arc<dyn Group>> {
///         Ok(Arc::new(So2))
///     }
/// }
/// ```
#[proc_macro_attribute]
pub fn component(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let registered = parse_macro_input!(arguments as Registered);
    let item = parse_macro_input!(item as ItemImpl);
    expand_component(&registered, &item).unwrap_or_else(syn::Error::into_compile_error).into()
}

fn kind(item: &ItemImpl) -> syn::Result<&'static str> {
    let implemented = item.trait_.as_ref().and_then(|(_, path, _)| path.segments.last());
    let name = implemented.map(|segment| segment.ident.to_string()).unwrap_or_default();
    let found = KINDS.iter().find(|(config, _)| *config == name);
    found.map(|(_, kind)| *kind).ok_or_else(|| {
        let names: Vec<&str> = KINDS.iter().map(|(config, _)| *config).collect();
        let message = format!("it stands on the `impl` of one of {}", names.join(", "));
        syn::Error::new_spanned(&item.self_ty, message)
    })
}

fn expand_component(registered: &Registered, item: &ItemImpl) -> syn::Result<Tokens> {
    let Registered { name, summary, example } = registered;
    let kind = LitStr::new(kind(item)?, Span::call_site());
    let config: &Type = &item.self_ty;
    // typetag's expansion names its own crate without a leading `::`.
    let typetag = Ident::new("typetag", Span::call_site());
    Ok(quote! {
        const _: () = {
            use ::isotropy_core::#typetag;
            #[typetag::serde(name = #name)]
            #item
        };
        ::isotropy_core::register!(#kind, #name, #config, #summary, #example);
    })
}
