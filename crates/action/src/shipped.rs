//! The connectors that ship, as they stand in `content/connectors`.

/// A connector's document that ships.
#[derive(Clone, Copy, Debug)]
pub struct Shipped {
    /// Its kind, for example `slack-message`.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// All of them, by name.
#[must_use]
pub const fn shipped() -> [Shipped; 3] {
    [
        Shipped {
            name: "aws-iam-access-key",
            text: include_str!("../../../content/connectors/aws-iam-access-key.yaml"),
        },
        Shipped { name: "slack-message", text: include_str!("../../../content/connectors/slack-message.yaml") },
        Shipped { name: "webhook", text: include_str!("../../../content/connectors/webhook.yaml") },
    ]
}
