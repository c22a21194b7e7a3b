// SPDX-License-Identifier: GPL-2.0
//! One struct for each attribute set, with its encoder and decoder.

use anyhow::{bail, Context as _, Result};
use proc_macro2::{Literal, TokenStream};
use quote::quote;

use super::spec::{const_name, docs, field_name, type_name, Attribute, AttributeSet, Spec};

/// The structs of all attribute sets.
pub(super) fn attribute_sets(spec: &Spec) -> Result<TokenStream> {
    let sets = spec
        .attribute_sets
        .iter()
        .map(|set| attribute_set(spec, set))
        .collect::<Result<Vec<_>>>()?;
    Ok(quote! { #( #sets )* })
}

/// What one attribute contributes to its struct.
struct Field {
    /// Type of the field.
    holds: TokenStream,
    /// Statement that writes `self.<field>` to `out`.
    encode: TokenStream,
    /// Statement that takes the value from `attr` into `set.<field>`.
    decode: TokenStream,
}

fn attribute_set(spec: &Spec, set: &AttributeSet) -> Result<TokenStream> {
    let name = type_name(&set.name);
    let doc = docs(&set.doc, &format!("The attribute set `{}`.", set.name));
    let (mut fields, mut constants, mut encoders, mut decoders) = (vec![], vec![], vec![], vec![]);
    let mut infos = vec![];
    for (number, attribute) in set.numbered()? {
        let place = format!("{}/{}", set.name, attribute.name);
        let made = field(spec, attribute).with_context(|| format!("attribute-sets/{place}"))?;
        let (ident, constant) = (field_name(&attribute.name), const_name(&attribute.name));
        let (holds, encode, decode) = (made.holds, made.encode, made.decode);
        let literal = Literal::u16_unsuffixed(number);
        let comment = docs(
            &full_doc(spec, attribute)?,
            &format!("The attribute `{}`.", attribute.name),
        );
        let number_doc = docs("", &format!("Number of the attribute `{}`.", attribute.name));
        fields.push(quote! { #comment pub #ident: #holds, });
        constants.push(quote! { #number_doc pub const #constant: u16 = #literal; });
        encoders.push(encode);
        decoders.push(quote! { Self::#constant => #decode, });
        let text = &attribute.name;
        let info = match &attribute.nested_attributes {
            Some(inner) => {
                let inner = type_name(&spec.set(inner)?.name);
                quote!(AttributeInfo::nest(#text, #inner::attribute))
            }
            None => quote!(AttributeInfo::leaf(#text)),
        };
        infos.push(quote! { Self::#constant => #info, });
    }
    Ok(quote! {
        #doc
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct #name { #( #fields )* }

        impl #name {
            #( #constants )*

            /// Writes the attributes that are present.
            ///
            /// # Errors
            ///
            /// When a text or a byte string is too long for an attribute, or a text contains a NUL.
            pub fn encode(&self, out: &mut AttrWriter) -> Result<(), WireError> {
                #( #encoders )*
                Ok(())
            }

            /// Reads the attributes; those this version does not know are passed over.
            ///
            /// # Errors
            ///
            /// When the bytes are no sequence of attributes or a value has a size its type cannot have.
            pub fn decode(attrs: AttrReader<'_>) -> Result<Self, WireError> {
                let mut set = Self::default();
                for attr in attrs {
                    let attr = attr?;
                    match attr.kind() {
                        #( #decoders )*
                        _ => {}
                    }
                }
                Ok(set)
            }

            /// The name of an attribute and, where it is a nest, the same function of the set inside.
            #[must_use]
            pub fn attribute(kind: u16) -> Option<AttributeInfo> {
                Some(match kind {
                    #( #infos )*
                    _ => return None,
                })
            }
        }
    })
}

/// The text of the spec and the limits it sets.
fn full_doc(spec: &Spec, attribute: &Attribute) -> Result<String> {
    let checks = &attribute.checks;
    let number = |limit: &Option<_>| limit.as_ref().map(|limit| spec.limit(limit)).transpose();
    let values = range(number(&checks.min)?, number(&checks.max)?);
    let lengths = range(number(&checks.min_len)?, number(&checks.max_len)?);
    let mut text = if attribute.doc.trim().is_empty() {
        format!("The attribute `{}`.", attribute.name)
    } else {
        attribute.doc.trim().to_owned()
    };
    if let Some(values) = values {
        text.push_str(&format!("\n\nValues: {values}."));
    }
    if let Some(lengths) = lengths {
        text.push_str(&format!("\n\nLength: {lengths} bytes."));
    }
    Ok(text)
}

fn range(min: Option<u64>, max: Option<u64>) -> Option<String> {
    match (min, max) {
        (Some(min), Some(max)) => Some(format!("{min} to {max}")),
        (Some(min), None) => Some(format!("{min} or more")),
        (None, Some(max)) => Some(format!("up to {max}")),
        (None, None) => None,
    }
}

fn field(spec: &Spec, attribute: &Attribute) -> Result<Field> {
    let (ident, constant) = (field_name(&attribute.name), const_name(&attribute.name));
    if attribute.multi_attr && attribute.kind != "nest" {
        bail!("`multi-attr` is known for nests only");
    }
    let plain = |holds: TokenStream, put: TokenStream, take: TokenStream| Field {
        holds: quote! { Option<#holds> },
        encode: quote! { if let Some(value) = &self.#ident { #put } },
        decode: quote! { set.#ident = Some(#take) },
    };
    Ok(match attribute.kind.as_str() {
        "string" => plain(
            quote!(String),
            quote!(out.put_str(Self::#constant, value)?;),
            quote!(attr.string()?),
        ),
        "u32" => match &attribute.enumeration {
            Some(name) => {
                let of = type_name(&spec.definition("enum", name)?.name);
                plain(
                    quote!(#of),
                    quote!(out.put_u32(Self::#constant, value.number())?;),
                    quote!(#of::from(attr.u32()?)),
                )
            }
            None => plain(
                quote!(u32),
                quote!(out.put_u32(Self::#constant, *value)?;),
                quote!(attr.u32()?),
            ),
        },
        "uint" => plain(
            quote!(u64),
            quote!(out.put_uint(Self::#constant, *value)?;),
            quote!(attr.uint()?),
        ),
        "binary" => match &attribute.checks.exact_len {
            Some(limit) => {
                let length = Literal::u64_unsuffixed(spec.limit(limit)?);
                plain(
                    quote!([u8; #length]),
                    quote!(out.put_bytes(Self::#constant, value)?;),
                    quote!(attr.array()?),
                )
            }
            None => plain(
                quote!(Vec<u8>),
                quote!(out.put_bytes(Self::#constant, value)?;),
                quote!(attr.bytes().to_vec()),
            ),
        },
        "flag" => Field {
            holds: quote!(bool),
            encode: quote! { if self.#ident { out.put_flag(Self::#constant)?; } },
            decode: quote! { set.#ident = true },
        },
        "nest" => {
            let inner = attribute
                .nested_attributes
                .as_ref()
                .context("a nest must name its `nested-attributes`")?;
            let of = type_name(&spec.set(inner)?.name);
            if attribute.multi_attr {
                Field {
                    holds: quote!(Vec<#of>),
                    encode: quote! {
                        for value in &self.#ident { out.nest(Self::#constant, |inner| value.encode(inner))?; }
                    },
                    decode: quote! { set.#ident.push(#of::decode(attr.nested())?) },
                }
            } else {
                plain(
                    quote!(#of),
                    quote!(out.nest(Self::#constant, |inner| value.encode(inner))?;),
                    quote!(#of::decode(attr.nested())?),
                )
            }
        }
        other => bail!("the type `{other}` is not known"),
    })
}
