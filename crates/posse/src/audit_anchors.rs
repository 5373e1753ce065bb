//! The `[audit_anchors.NAME]` sections: places outside where checkpoints of the log are put. Reads files of secrets, asks nobody.

use crate::data_dir::read_secret;
use anyhow::{Context as _, ensure};
use control::{Anchor, AnchorPlace};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An anchor, as it is written down.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Section {
    /// A file that lines are added to.
    File {
        /// Where it is; best on a disk that this machine cannot change otherwise.
        path: PathBuf,
        /// How long at most a checkpoint waits, in seconds; 60 where nothing is said.
        every_secs: Option<u32>,
    },
    /// An S3-compatible bucket, an object each time.
    S3 {
        /// The service's address.
        endpoint: String,
        /// The bucket.
        bucket: String,
        /// Its region.
        region: String,
        /// What goes before the objects' names.
        #[serde(default)]
        prefix: String,
        /// Id of the access key.
        access_key_id: String,
        /// File with its secret.
        secret_access_key_file: PathBuf,
        /// Whether it may lie inside, and without TLS.
        #[serde(default)]
        private_network: bool,
        /// How long at most a checkpoint waits, in seconds; 60 where nothing is said.
        every_secs: Option<u32>,
    },
    /// A webhook, signed as Standard Webhooks say.
    Webhook {
        /// Its address.
        url: String,
        /// File with the secret that signs.
        secret_file: PathBuf,
        /// Whether it may lie inside, and without TLS.
        #[serde(default)]
        private_network: bool,
        /// How long at most a checkpoint waits, in seconds; 60 where nothing is said.
        every_secs: Option<u32>,
    },
}

/// The anchors of a configuration, with their secrets.
pub(crate) fn anchors(sections: &BTreeMap<String, Section>) -> anyhow::Result<Vec<Anchor>> {
    sections.iter().map(|(name, section)| anchor(name, section.clone())).collect()
}

fn anchor(name: &str, section: Section) -> anyhow::Result<Anchor> {
    let named = (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    ensure!(named, "`{name}` cannot name an anchor; use letters, digits and `-`, at most 64");
    let secret = |file: &Path| {
        let text = read_secret(file)?;
        seal::SecretText::new(text).with_context(|| format!("`{}` is too long", file.display()))
    };
    let (every_secs, place) = match section {
        Section::File { path, every_secs } => {
            ensure!(path.is_absolute(), "the path of the anchor `{name}` must be absolute");
            (every_secs, AnchorPlace::File { path })
        }
        Section::S3 {
            endpoint,
            bucket,
            region,
            prefix,
            access_key_id,
            secret_access_key_file,
            private_network,
            every_secs,
        } => {
            let secret_access_key = secret(&secret_access_key_file)?;
            let place =
                AnchorPlace::S3 { endpoint, bucket, region, prefix, access_key_id, secret_access_key, private_network };
            (every_secs, place)
        }
        Section::Webhook { url, secret_file, private_network, every_secs } => {
            (every_secs, AnchorPlace::Webhook { url, secret: secret(&secret_file)?, private_network })
        }
    };
    let every_secs = every_secs.unwrap_or(60);
    ensure!(every_secs > 0, "`every_secs` of the anchor `{name}` must be at least 1");
    Ok(Anchor { name: name.to_owned(), every: Duration::from_secs(every_secs.into()), place })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_read_whole_or_not_at_all() {
        let read = |text: &str| toml::from_str::<BTreeMap<String, Section>>(text);
        let file = "[disk]\nkind = \"file\"\npath = \"/mnt/worm/posse.jsonl\"\nevery_secs = 300\n";
        let all = anchors(&read(file).unwrap()).unwrap();
        assert_eq!((all[0].name.as_str(), all[0].every), ("disk", Duration::from_secs(300)));
        assert!(read(&file.replace("every_secs", "evry_secs")).is_err());
        assert!(read(&file.replace("\"file\"", "\"tape\"")).is_err());
        for odd in ["path = \"posse.jsonl\"", "path = \"/x\"\nevery_secs = 0"] {
            let text = format!("[disk]\nkind = \"file\"\n{odd}\n");
            assert!(anchors(&read(&text).unwrap()).is_err(), "{odd}");
        }
        let webhook =
            "[siem]\nkind = \"webhook\"\nurl = \"https://siem.example.com/a\"\nsecret_file = \"/nowhere/s\"\n";
        assert!(anchors(&read(webhook).unwrap()).is_err(), "a secret that is not there");
        assert!(anchors(&read(&file.replace("[disk]", "[\"a b\"]")).unwrap()).is_err());
    }
}
