//! What stands before the body of an item: attributes, visibility, name.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, Item, Visibility};

/// Words between the visibility of an item and its name.
const KEYWORDS: [&str; 15] = [
    "async",
    "auto",
    "const",
    "enum",
    "extern",
    "fn",
    "macro_rules",
    "mut",
    "safe",
    "static",
    "struct",
    "trait",
    "type",
    "union",
    "unsafe",
];

/// The head of an item.
pub struct Head {
    /// Under `#[cfg(test)]` or `#[cfg(all(test, ...))]`.
    pub test: bool,
    /// `pub` without a restriction.
    pub public: bool,
    /// `None` for `impl` and `use`.
    pub name: Option<String>,
}

impl Head {
    /// Reads it from the item's tokens, which is the same for every kind of item.
    pub fn of(item: &Item) -> Self {
        let parse = |input: ParseStream<'_>| {
            let attributes = input.call(Attribute::parse_outer)?;
            Ok((attributes, input.parse::<Visibility>()?, input.parse::<TokenStream>()?))
        };
        let Ok((attributes, visibility, rest)) = parse.parse2(item.to_token_stream()) else {
            return Self { test: false, public: false, name: None };
        };
        let word = |token| match token {
            TokenTree::Ident(word) => Some(word.to_string()),
            _ => None,
        };
        let name = rest.into_iter().filter_map(word).find(|word| !KEYWORDS.contains(&word.as_str()));
        Self {
            test: attributes.iter().any(is_test),
            public: matches!(visibility, Visibility::Public(_)),
            name: name.filter(|name| !["impl", "use"].contains(&name.as_str())),
        }
    }
}

/// Whether an attribute is `#[cfg(test)]` or `#[cfg(all(test, ...))]`.
fn is_test(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg") && {
        let condition = attribute.meta.to_token_stream().to_string().replace(' ', "");
        condition == "cfg(test)" || condition.starts_with("cfg(all(test,")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_of_all_kinds_of_items_are_read() {
        let head = |text: &str| {
            let head = Head::of(&syn::parse_str(text).unwrap());
            (head.test, head.public, head.name.unwrap_or_default())
        };
        assert_eq!(head("#[doc = \"a\"] #[cfg(test)] pub(crate) const fn f() {}"), (true, false, "f".into()));
        assert_eq!(head("pub unsafe extern \"C\" fn g() {}"), (false, true, "g".into()));
        assert_eq!(head("static mut S: u8 = 0;"), (false, false, "S".into()));
        assert_eq!(head("macro_rules! m { () => {} }"), (false, false, "m".into()));
        assert_eq!(head("#[cfg(all(test, unix))] impl A for B { fn c() {} }"), (true, false, String::new()));
        assert_eq!(head("#[cfg(unix)] pub struct T<U>(U);"), (false, true, "T".into()));
    }
}
