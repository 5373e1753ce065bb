//! From flags to the input of an operation: one JSON object, judged before anything is sent.

use crate::answer::Trouble;
use crate::argument::{Argument, PLAIN, plain_field};
use crate::source::{Input, resolve};
use api::{FieldKind, JsonLimits, Spec};
use clap::ArgMatches;
use serde_json::{Map, Value};

/// The input that a command line gives, with notes for the person who gave it.
pub(crate) fn build(spec: &Spec, matches: &ArgMatches, stdin: &Input) -> Result<(Value, Vec<String>), Trouble> {
    let (input, notes) = gathered(spec, matches, stdin)?;
    spec.validate(&input).map_err(Trouble::Input)?;
    Ok((input, notes))
}

/// The same before it is checked against the schema.
pub(crate) fn gathered(spec: &Spec, matches: &ArgMatches, stdin: &Input) -> Result<(Value, Vec<String>), Trouble> {
    let mut notes = Vec::new();
    let mut object = whole(matches, stdin)?;
    for argument in Argument::all(spec) {
        let Some(given) = matches.get_many::<String>(&argument.id()) else { continue };
        let given: Vec<&String> = given.collect();
        let shown = given.iter().any(|text| !text.starts_with('@') && *text != "-");
        if argument.secret && shown {
            let flag = &argument.flag;
            notes.push(format!("`--{flag}` on the command line can be read by others on this machine; `--{flag} @FILE` or `--{flag} -` cannot"));
        }
        let texts = given.iter().map(|text| resolve(text, stdin)).collect::<Result<Vec<String>, Trouble>>()?;
        object.insert(argument.field.to_owned(), value(spec, &argument, &texts)?);
    }
    if let Some(field) = plain_field(spec.meta.id)
        && let Some(text) = matches.get_one::<String>(PLAIN)
    {
        object.insert(field.to_owned(), Value::String(resolve(text, stdin)?));
    }
    Ok((Value::Object(object), notes))
}

/// The object of `--input`.
fn whole(matches: &ArgMatches, stdin: &Input) -> Result<Map<String, Value>, Trouble> {
    let Some(given) = matches.get_one::<String>("input") else { return Ok(Map::new()) };
    match api::parse_json(resolve(given, stdin)?.as_bytes(), JsonLimits::default()).map_err(Trouble::Input)? {
        Value::Object(object) => Ok(object),
        _ => Err(Trouble::Usage("`--input` is not a JSON object".to_owned())),
    }
}

fn value(spec: &Spec, argument: &Argument<'_>, texts: &[String]) -> Result<Value, Trouble> {
    let parsed = |text: &String| {
        api::parse_json(text.as_bytes(), JsonLimits::default())
            .map_err(|problem| Trouble::Usage(format!("`--{}` is not JSON: {}", argument.flag, problem.detail)))
    };
    match (argument.kind, texts) {
        (FieldKind::List, texts) if !argument.items_are_text => {
            texts.iter().map(parsed).collect::<Result<Vec<Value>, Trouble>>().map(Value::Array)
        }
        // Only a text that begins like JSON is meant as such: a field may be an object or a plain word.
        (FieldKind::Json, [text]) if text.trim_start().starts_with(['{', '[', '"']) => parsed(text),
        // A secret read from a file ends with the file's last line end, which is not part of it.
        (FieldKind::Text, [text]) if argument.secret => {
            Ok(Value::String(text.trim_end_matches(['\r', '\n']).to_owned()))
        }
        _ => Ok(spec.field_value(argument.field, texts)),
    }
}
