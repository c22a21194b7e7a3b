// SPDX-License-Identifier: GPL-2.0
//! The parts of a YNL genetlink spec that the Rust types depend on.

use anyhow::{bail, Context as _, Result};
use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use serde::Deserialize;

/// A whole spec; what is not listed here does not matter to the Rust side.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Spec {
    pub(super) name: String,
    pub(super) protocol: String,
    #[serde(default)]
    pub(super) version: Option<u32>,
    #[serde(default)]
    pub(super) doc: String,
    #[serde(default)]
    pub(super) definitions: Vec<Definition>,
    pub(super) attribute_sets: Vec<AttributeSet>,
    pub(super) operations: Operations,
    #[serde(default)]
    pub(super) mcast_groups: Groups,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Definition {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) name: String,
    #[serde(default)]
    pub(super) doc: String,
    pub(super) value: Option<u64>,
    #[serde(default)]
    pub(super) value_start: u32,
    #[serde(default)]
    pub(super) entries: Vec<Entry>,
}

/// An entry of an enum: YNL allows the bare name as well.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Entry {
    Bare(String),
    Full {
        name: String,
        #[serde(default)]
        doc: String,
        value: Option<u32>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct AttributeSet {
    pub(super) name: String,
    /// The set this one repeats a part of, with the same numbers.
    pub(super) subset_of: Option<String>,
    #[serde(default)]
    pub(super) doc: String,
    pub(super) attributes: Vec<Attribute>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Attribute {
    pub(super) name: String,
    /// Empty in a subset, which only names the attributes.
    #[serde(rename = "type", default)]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) doc: String,
    pub(super) value: Option<u16>,
    #[serde(rename = "enum")]
    pub(super) enumeration: Option<String>,
    pub(super) nested_attributes: Option<String>,
    #[serde(default)]
    pub(super) multi_attr: bool,
    #[serde(default)]
    pub(super) checks: Checks,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Checks {
    pub(super) min: Option<Limit>,
    pub(super) max: Option<Limit>,
    pub(super) min_len: Option<Limit>,
    pub(super) max_len: Option<Limit>,
    pub(super) exact_len: Option<Limit>,
}

/// A limit: a number, or the name of a constant.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Limit {
    Number(u64),
    Name(String),
}

#[derive(Deserialize)]
pub(super) struct Operations {
    pub(super) list: Vec<Operation>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Operation {
    pub(super) name: String,
    #[serde(default)]
    pub(super) doc: String,
    pub(super) value: Option<u8>,
    pub(super) attribute_set: String,
    #[serde(rename = "do")]
    pub(super) single: Option<Exchange>,
}

#[derive(Deserialize)]
pub(super) struct Exchange {
    pub(super) request: Option<Message>,
}

#[derive(Deserialize)]
pub(super) struct Message {
    #[serde(default)]
    pub(super) attributes: Vec<String>,
}

#[derive(Default, Deserialize)]
pub(super) struct Groups {
    #[serde(default)]
    pub(super) list: Vec<Group>,
}

#[derive(Deserialize)]
pub(super) struct Group {
    pub(super) name: String,
}

impl Entry {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Bare(name) | Self::Full { name, .. } => name,
        }
    }

    pub(super) fn doc(&self) -> &str {
        match self {
            Self::Bare(_) => "",
            Self::Full { doc, .. } => doc,
        }
    }

    pub(super) fn value(&self) -> Option<u32> {
        match self {
            Self::Bare(_) => None,
            Self::Full { value, .. } => *value,
        }
    }
}

impl Spec {
    /// Replaces every subset by the set it is a part of. A subset exists for policies of the kernel; what it admits is
    /// decoded just as well by the whole set, because the numbers are the same.
    pub(super) fn without_subsets(mut self) -> Self {
        let subsets: Vec<(String, String)> = self
            .attribute_sets
            .iter()
            .filter_map(|set| Some((set.name.clone(), set.subset_of.clone()?)))
            .collect();
        self.attribute_sets.retain(|set| set.subset_of.is_none());
        let whole = |name: &mut String| {
            if let Some((_, of)) = subsets.iter().find(|(subset, _)| subset == name) {
                name.clone_from(of);
            }
        };
        for attribute in self.attribute_sets.iter_mut().flat_map(|set| &mut set.attributes) {
            attribute.nested_attributes.iter_mut().for_each(whole);
        }
        for operation in &mut self.operations.list {
            whole(&mut operation.attribute_set);
        }
        self
    }

    pub(super) fn definition(&self, kind: &str, name: &str) -> Result<&Definition> {
        self.definitions
            .iter()
            .find(|definition| definition.kind == kind && definition.name == name)
            .with_context(|| format!("the spec names the {kind} `{name}` but does not define it"))
    }

    pub(super) fn set(&self, name: &str) -> Result<&AttributeSet> {
        self.attribute_sets
            .iter()
            .find(|set| set.name == name)
            .with_context(|| format!("the spec names the attribute set `{name}` but does not define it"))
    }

    /// The number a limit stands for.
    pub(super) fn limit(&self, limit: &Limit) -> Result<u64> {
        match limit {
            Limit::Number(number) => Ok(*number),
            Limit::Name(name) => self
                .definition("const", name)?
                .value
                .with_context(|| format!("the constant `{name}` has no value")),
        }
    }
}

impl AttributeSet {
    /// The attributes with their numbers: one more than the one before, from 1, unless the spec says otherwise.
    pub(super) fn numbered(&self) -> Result<Vec<(u16, &Attribute)>> {
        let mut next = 1_u16;
        let mut all = Vec::with_capacity(self.attributes.len());
        for attribute in &self.attributes {
            let number = attribute.value.unwrap_or(next);
            // The two highest bits of an attribute type are flags.
            if number >= 1 << 14 {
                bail!(
                    "{}/{}: the number {number} is no attribute type",
                    self.name,
                    attribute.name
                );
            }
            all.push((number, attribute));
            next = number + 1;
        }
        Ok(all)
    }
}

/// Doc comments for a text of the spec, or for `fallback` where it has none.
pub(super) fn docs(text: &str, fallback: &str) -> TokenStream {
    let text = if text.trim().is_empty() { fallback } else { text.trim() };
    let lines = text.lines().map(|line| {
        // The texts are prose: what looks like HTML or a link to rustdoc is meant literally.
        let line = line.trim_end().replace('<', "\\<").replace('[', "\\[");
        if line.is_empty() {
            line
        } else {
            format!(" {line}")
        }
    });
    quote! { #( #[doc = #lines] )* }
}

/// `leg-id` as a type: `LegId`.
pub(super) fn type_name(name: &str) -> Ident {
    let camel: String = name
        .split('-')
        .flat_map(|word| {
            word.chars()
                .enumerate()
                .map(|(at, c)| if at == 0 { c.to_ascii_uppercase() } else { c })
        })
        .collect();
    Ident::new(&camel, Span::call_site())
}

/// `leg-id` as a field: `leg_id`; a word that Rust keeps for itself gets an underscore.
pub(super) fn field_name(name: &str) -> Ident {
    let snake = name.replace('-', "_");
    syn::parse_str::<Ident>(&snake).unwrap_or_else(|_| Ident::new(&format!("{snake}_"), Span::call_site()))
}

/// `leg-id` as a constant: `LEG_ID`.
pub(super) fn const_name(name: &str) -> Ident {
    Ident::new(&name.replace('-', "_").to_ascii_uppercase(), Span::call_site())
}
