//! What a pattern of a filter is compared with: a message, or fields of a record.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::pattern::{self, Form, Place};

/// Forms one field of a record may have.
const MAX_FORMS: usize = 4096;

/// What a pattern is compared with. The forms are made when they are needed: there are many, and once they are compiled
/// they are not looked at any more.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    /// The whole message.
    Message,
    /// Fields of a record, each as a whole.
    Record(BTreeMap<String, Texts>),
}

/// What a field must be: any of these patterns.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Texts {
    One(String),
    Any(Vec<String>),
}

/// What a field of a record must be: any of these.
#[derive(Clone, Debug)]
pub(super) struct FieldForms {
    pub(super) name: String,
    pub(super) forms: Vec<Form>,
}

impl Texts {
    fn all(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Any(texts) => texts,
        }
    }
}

/// The forms a message can have.
pub(super) fn message_forms(text: &str) -> Result<Vec<Form>, String> {
    let forms = pattern::compile(text, Place::Message)?;
    match forms.iter().find(|form| !form.has_address()) {
        None => Ok(forms),
        Some(form) => {
            let head = String::from_utf8_lossy(form.head()).into_owned();
            Err(format!("one of its forms (beginning with `{head}`) has no `<address>`"))
        }
    }
}

/// The forms that fields can have, one of them with an address.
pub(super) fn field_forms(fields: &BTreeMap<String, Texts>) -> Result<Vec<FieldForms>, String> {
    let mut all = Vec::with_capacity(fields.len());
    for (name, field) in fields {
        let mut forms = Vec::new();
        for text in field.all() {
            forms.extend(pattern::compile(text, Place::Field).map_err(|reason| format!("{name}: {reason}"))?);
        }
        if forms.is_empty() || forms.len() > MAX_FORMS {
            return Err(format!("{name}: a field has 1 to {MAX_FORMS} forms"));
        }
        let with_address = forms.iter().filter(|form| form.has_address()).count();
        if with_address > 0 && with_address < forms.len() {
            return Err(format!("{name}: some of its forms have an `<address>` and some have none"));
        }
        all.push(FieldForms { name: name.clone(), forms });
    }
    match all.iter().filter(|field| field.forms[0].has_address()).count() {
        1 => Ok(all),
        0 => Err("none of its fields has an `<address>`".into()),
        _ => Err("more than one of its fields has an `<address>`: which one is the peer?".into()),
    }
}

/// Fields as text for people.
pub(super) fn written(fields: &BTreeMap<String, Texts>) -> String {
    let fields = fields.iter().map(|(name, field)| match field.all() {
        [one] => format!("{name} = {one}"),
        [first, rest @ ..] => format!("{name} = {first} or {} others", rest.len()),
        [] => format!("{name} = nothing"),
    });
    fields.collect::<Vec<_>>().join(", ")
}
