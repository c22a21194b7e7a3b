// SPDX-License-Identifier: GPL-2.0
//! Constants, enums and operation numbers.

use anyhow::{bail, ensure, Context as _, Result};
use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote};

use super::spec::{const_name, docs, type_name, Definition, Spec};

/// The name, the version and the multicast groups of the family.
pub(super) fn family(spec: &Spec) -> Result<TokenStream> {
    ensure!(
        spec.protocol == "genetlink",
        "the protocol is `{}`, only genetlink is known",
        spec.protocol
    );
    let name = &spec.name;
    let version = Literal::u8_unsuffixed(u8::try_from(spec.version.unwrap_or(1)).context("the version of the family")?);
    let doc = docs(&spec.doc, "Name of the family.");
    let groups = spec.mcast_groups.list.iter().map(|group| {
        let (constant, text) = (format_ident!("MCGRP_{}", const_name(&group.name)), &group.name);
        let doc = docs("", &format!("Name of the multicast group `{text}`."));
        quote! { #doc pub const #constant: &str = #text; }
    });
    Ok(quote! {
        #doc
        pub const FAMILY_NAME: &str = #name;
        /// Version of the family, the second byte of each request.
        pub const FAMILY_VERSION: u8 = #version;
        #( #groups )*
    })
}

/// The constants and the enums.
pub(super) fn definitions(spec: &Spec) -> Result<TokenStream> {
    let items = spec
        .definitions
        .iter()
        .map(|definition| match definition.kind.as_str() {
            "const" => constant(definition),
            "enum" => enumeration(definition),
            other => bail!("definitions/{}: the type `{other}` is not known", definition.name),
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(quote! { #( #items )* })
}

fn constant(definition: &Definition) -> Result<TokenStream> {
    let value = definition
        .value
        .with_context(|| format!("the constant `{}` has no value", definition.name))?;
    let value = Literal::u64_unsuffixed(value);
    let name = const_name(&definition.name);
    let doc = docs(&definition.doc, &format!("The limit `{}`.", definition.name));
    Ok(quote! { #doc pub const #name: usize = #value; })
}

fn enumeration(definition: &Definition) -> Result<TokenStream> {
    let name = type_name(&definition.name);
    let doc = docs(&definition.doc, &format!("The values of `{}`.", definition.name));
    let mut next = definition.value_start;
    let (mut idents, mut texts, mut numbers, mut comments) = (vec![], vec![], vec![], vec![]);
    for entry in &definition.entries {
        let number = entry.value().unwrap_or(next);
        next = number
            .checked_add(1)
            .with_context(|| format!("{}/{}: no number follows", definition.name, entry.name()))?;
        idents.push(type_name(entry.name()));
        texts.push(entry.name());
        numbers.push(Literal::u32_unsuffixed(number));
        comments.push(docs(entry.doc(), &format!("The value `{}`.", entry.name())));
    }
    Ok(quote! {
        #doc
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum #name {
            #( #comments #idents, )*
            /// A value that this version does not know.
            Unknown(u32),
        }

        impl #name {
            /// The values this version knows, in the order of the spec.
            pub const ALL: &'static [Self] = &[ #( Self::#idents ),* ];

            /// The number on the wire.
            #[must_use]
            pub const fn number(self) -> u32 {
                match self {
                    #( Self::#idents => #numbers, )*
                    Self::Unknown(number) => number,
                }
            }

            /// The name in the spec, `unknown` when it has none.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    #( Self::#idents => #texts, )*
                    Self::Unknown(_) => "unknown",
                }
            }
        }

        impl From<u32> for #name {
            fn from(number: u32) -> Self {
                match number {
                    #( #numbers => Self::#idents, )*
                    other => Self::Unknown(other),
                }
            }
        }

        impl fmt::Display for #name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    Self::Unknown(number) => write!(f, "unknown ({number})"),
                    known => f.write_str(known.name()),
                }
            }
        }
    })
}

/// The numbers of the operations, their names, and the attributes a request of each may carry.
pub(super) fn operations(spec: &Spec) -> Result<TokenStream> {
    let mut next = 1_u8;
    let (mut constants, mut names, mut texts) = (vec![], vec![], vec![]);
    let mut requests = vec![];
    for operation in &spec.operations.list {
        let number = operation.value.unwrap_or(next);
        next = number
            .checked_add(1)
            .with_context(|| format!("operations/{}: no number follows", operation.name))?;
        let name = const_name(&operation.name);
        let literal = Literal::u8_unsuffixed(number);
        let doc = docs(&operation.doc, &format!("The operation `{}`.", operation.name));
        constants.push(quote! { #doc pub const #name: u8 = #literal; });
        let set = spec.set(&operation.attribute_set)?;
        if let Some(request) = operation.single.as_ref().and_then(|single| single.request.as_ref()) {
            let of = type_name(&set.name);
            let allowed = request
                .attributes
                .iter()
                .map(|wanted| {
                    ensure!(
                        set.attributes.iter().any(|attribute| attribute.name == *wanted),
                        "operations/{}: the set `{}` has no attribute `{wanted}`",
                        operation.name,
                        set.name
                    );
                    let constant = const_name(wanted);
                    Ok(quote! { super::#of::#constant })
                })
                .collect::<Result<Vec<_>>>()?;
            requests.push(quote! { #name => Some(&[ #( #allowed ),* ]), });
        }
        names.push(name);
        texts.push(&operation.name);
    }
    Ok(quote! {
        /// The numbers of the operations.
        pub mod cmd {
            #( #constants )*

            /// The name of an operation in the spec.
            #[must_use]
            pub const fn name(number: u8) -> Option<&'static str> {
                match number {
                    #( #names => Some(#texts), )*
                    _ => None,
                }
            }

            /// The attributes a request may carry; `None` when there is no such request.
            #[must_use]
            pub const fn request_attributes(number: u8) -> Option<&'static [u16]> {
                match number {
                    #( #requests )*
                    _ => None,
                }
            }
        }
    })
}
