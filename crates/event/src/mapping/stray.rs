//! Fields of a record in Windows' envelope that stand where its mapping does not look and rules do: beside the event, right
//! below `UserData`, under a name with blanks, or with the name of a field that the system part has. Pure.

use crate::view::{Item, Kind};

/// Whether any field of the record stands so. `names` are those of fields of the system part.
pub(super) fn any(root: Item<'_>, names: &[String]) -> bool {
    let Kind::Object(mut members) = root.kind() else { return true };
    members.any(|(key, value)| key != "Event" || event(value, names))
}

fn event(item: Item<'_>, names: &[String]) -> bool {
    let Kind::Object(mut members) = item.kind() else { return true };
    members.any(|(key, value)| match key {
        "EventData" => data(value, names),
        "UserData" => user_data(value, names),
        // A name with dots leads into the parts too.
        other => other.contains('.'),
    })
}

fn user_data(item: Item<'_>, names: &[String]) -> bool {
    match item.kind() {
        Kind::Scalar(scalar) => !scalar.is_null(),
        Kind::Array(_) => true,
        Kind::Object(mut members) => members.any(|(key, value)| match value.kind() {
            // `#attributes` and the like are no fields.
            _ if key.starts_with('#') => false,
            Kind::Object(_) => data(value, names),
            _ => true,
        }),
    }
}

fn data(item: Item<'_>, names: &[String]) -> bool {
    match item.kind() {
        Kind::Scalar(_) => false,
        Kind::Array(_) => true,
        Kind::Object(mut members) => {
            members.any(|(key, _)| key.contains([' ', '.']) || names.iter().any(|name| name == key))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::Parser;

    #[test]
    fn fields_beside_their_places_are_seen() {
        let names = ["EventID".to_owned()];
        for (text, odd) in [
            (r##"{"Event":{"System":{"EventID":1},"EventData":{"Image":"a","X":{"#text":"y"}}}}"##, false),
            (r##"{"Event":{"System":{"EventID":1},"UserData":{"#attributes":{},"R":{"Path":"a"}}}}"##, false),
            (r##"{"Event":{"System":{"EventID":1},"EventData":null,"UserData":null}}"##, false),
            (r##"{"Event":{"System":{"EventID":1}},"Image":"a"}"##, true),
            (r##"{"Event":{"EventData":{"EventID":3}}}"##, true),
            (r##"{"Event":{"EventData":{"Threat Name":"a"}}}"##, true),
            (r##"{"Event":{"EventData":[{"Image":"a"}]}}"##, true),
            (r##"{"Event":{"UserData":{"Image":"a"}}}"##, true),
            (r##"{"Event":{"UserData":{"R":{"EventID":3}}}}"##, true),
            (r##"{"Event":{"UserData.R":{"Image":3}}}"##, true),
        ] {
            let mut parser = Parser::new();
            assert_eq!(any(parser.parse(text.as_bytes()).unwrap().root(), &names), odd, "{text}");
        }
    }
}
