//! How a connector shows who it is. Secrets are named here and resolved only where the request is made.

use crate::template::Template;
use serde::Deserialize;

/// How a connector authenticates.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Auth {
    /// AWS Signature Version 4 over the whole request.
    AwsSigv4 {
        /// The id of the access key.
        access_key_id: Template,
        /// Its secret.
        secret_access_key: Template,
        /// The token of temporary credentials.
        #[serde(default)]
        session_token: Option<Template>,
        /// For example `us-east-1`.
        region: Template,
        /// For example `iam`.
        service: Template,
    },
    /// `Authorization: Basic` (RFC 7617).
    Basic {
        /// The user.
        user: Template,
        /// The password.
        password: Template,
    },
    /// `Authorization: Bearer` (RFC 6750).
    Bearer {
        /// The token.
        token: Template,
    },
    /// A header of any name.
    Header {
        /// The header's name.
        name: String,
        /// Its value.
        value: Template,
    },
    /// Nothing is shown.
    #[default]
    None,
    /// `webhook-id`, `webhook-timestamp` and `webhook-signature` (Standard Webhooks 1.0).
    StandardWebhooks {
        /// The signing secret, `whsec_` and base64.
        secret: Template,
    },
}

impl Auth {
    /// Every template, with the name of its field.
    pub(crate) fn templates(&self) -> Vec<(&'static str, &Template)> {
        match self {
            Self::AwsSigv4 { access_key_id, secret_access_key, session_token, region, service } => {
                let mut all = vec![
                    ("access_key_id", access_key_id),
                    ("secret_access_key", secret_access_key),
                    ("region", region),
                    ("service", service),
                ];
                all.extend(session_token.iter().map(|token| ("session_token", token)));
                all
            }
            Self::Basic { user, password } => vec![("user", user), ("password", password)],
            Self::Bearer { token } => vec![("token", token)],
            Self::Header { value, .. } => vec![("value", value)],
            Self::None => Vec::new(),
            Self::StandardWebhooks { secret } => vec![("secret", secret)],
        }
    }

    /// The headers that it makes, in lower case.
    pub(crate) fn headers(&self) -> Vec<String> {
        match self {
            Self::AwsSigv4 { .. } => ["authorization", "x-amz-date", "x-amz-security-token"].map(str::to_owned).into(),
            Self::Basic { .. } | Self::Bearer { .. } => vec!["authorization".to_owned()],
            Self::Header { name, .. } => vec![name.to_ascii_lowercase()],
            Self::None => Vec::new(),
            Self::StandardWebhooks { .. } => {
                ["webhook-id", "webhook-timestamp", "webhook-signature"].map(str::to_owned).into()
            }
        }
    }
}
