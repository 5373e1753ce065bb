//! The gate's limits and times. Read once, at opening.

pub use crate::asking::QuestionLimits;
use seal::PasswordCost;
use std::time::Duration;

/// How many calls one principal may make.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Sustained, calls per second.
    pub per_second: u32,
    /// At once, before the sustained rate holds.
    pub burst: u32,
}

/// A role that a claim gives.
#[derive(Clone, Debug)]
pub struct ClaimRole {
    /// The claim's name, or a JSON pointer into the claims.
    pub claim: String,
    /// What it must be, or have among its values.
    pub value: String,
    /// The role: a shipped one's name, or an id.
    pub role: String,
    /// Where it is held; none for the provider and all of its tenants.
    pub tenant: Option<ids::TenantId>,
}

/// An OpenID provider that people sign in through.
#[derive(Clone, Debug)]
pub struct OidcProvider {
    /// What it is called here.
    pub name: String,
    /// Its issuer, exactly as it writes it.
    pub issuer: String,
    /// This installation's name there.
    pub client_id: String,
    /// The secret that goes with it; none for a public client.
    pub client_secret: Option<seal::SecretText>,
    /// What is asked for; `openid` among it.
    pub scopes: Vec<String>,
    /// Addresses of further hosts that its metadata names.
    pub hosts: Vec<String>,
    /// Where codes may go besides a person's own machine.
    pub redirect_uris: Vec<String>,
    /// Where its people belong; none for the provider.
    pub tenant: Option<ids::TenantId>,
    /// Whether who is not known yet is made; else only who was made here before can sign in.
    pub create: bool,
    /// Whether it may lie inside, and without TLS.
    pub private_network: bool,
    /// The roles that its claims give and take.
    pub roles: Vec<ClaimRole>,
}

/// A place outside where checkpoints are put.
#[derive(Clone, Debug)]
pub struct Anchor {
    /// What it is called here.
    pub name: String,
    /// How long at most a checkpoint waits to be put there.
    pub every: Duration,
    /// Where it leads.
    pub place: AnchorPlace,
}

/// Where an anchor leads.
#[derive(Clone, Debug)]
pub enum AnchorPlace {
    /// A file that lines are added to, best on another machine's disk.
    File {
        /// Where it is.
        path: std::path::PathBuf,
    },
    /// An S3-compatible bucket, addressed by path.
    S3 {
        /// The service's address, for example `https://s3.eu-central-1.amazonaws.com`.
        endpoint: String,
        /// The bucket.
        bucket: String,
        /// For example `eu-central-1`.
        region: String,
        /// What goes before the objects' names.
        prefix: String,
        /// Id of the access key.
        access_key_id: String,
        /// Its secret.
        secret_access_key: seal::SecretText,
        /// Whether it may lie inside, and without TLS.
        private_network: bool,
    },
    /// A webhook, signed as Standard Webhooks say.
    Webhook {
        /// Its address.
        url: String,
        /// What signs, base64.
        secret: seal::SecretText,
        /// Whether it may lie inside, and without TLS.
        private_network: bool,
    },
}

/// The gate's limits and times.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long an approval waits before it is denied.
    pub approval_ttl: Duration,
    /// How long an idempotency key is remembered.
    pub idempotency_ttl: Duration,
    /// How long the input of a read is kept beside its record; its digest stays.
    pub read_payload_ttl: Duration,
    /// How long a sign-in lasts.
    pub session_ttl: Duration,
    /// How long it holds at most that somebody said an agent or a service key needs what it has; and how long a new one needs no word.
    pub recertification_period: Duration,
    /// The longest time between two checkpoints of a log that grows.
    pub checkpoint_interval: Duration,
    /// Per principal.
    pub rate: Rate,
    /// How many failed sign-ins for one name may count at once; each is forgotten in turn over the window.
    pub sign_in_failures_per_name: u32,
    /// The same for one address, or one IPv6 network of 64 bits.
    pub sign_in_failures_per_address: u32,
    /// In what time all failed sign-ins are forgotten.
    pub sign_in_window: Duration,
    /// A person may approve their own proposals: for an installation of one person, loud in `system.info` and in
    /// every policy's context.
    pub self_approval: bool,
    /// What a password hash costs.
    pub password_cost: PasswordCost,
    /// The log's name in checkpoints, for example `posse.example.com/audit`.
    pub log_name: String,
    /// `sqlite` or `postgres`; told by `system.info`.
    pub engine: &'static str,
    /// Greatest request body, as the server enforces it; told by `system.limits`.
    pub body_bytes_max: u64,
    /// Where people may sign in besides with a password of their own.
    pub sign_in: Vec<OidcProvider>,
    /// What one question to the lake may take.
    pub questions: QuestionLimits,
    /// Raw bytes a second that a tenant's shippers may send in the long run, and at once; none is unbounded.
    pub ingest_quota: Option<(u64, u64)>,
    /// Greatest body of one shipper's request, still encoded.
    pub ingest_body_bytes_max: u64,
    /// Bytes of shippers' bodies in memory at once.
    pub ingest_memory_bytes_max: u64,
    /// `HOST` or `HOST:PORT` that connectors may reach without TLS, or at addresses that are not public; a connector's own
    /// document must name the host too.
    pub connector_hosts_inside: Vec<String>,
    /// Where checkpoints are put outside.
    pub anchors: Vec<Anchor>,
    /// What proves things about policies; without one `policy.prove` answers that nothing was verified.
    pub solver: Option<prove::Solver>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            approval_ttl: Duration::from_secs(3600),
            idempotency_ttl: Duration::from_secs(24 * 3600),
            read_payload_ttl: Duration::from_secs(30 * 24 * 3600),
            session_ttl: Duration::from_secs(12 * 3600),
            recertification_period: Duration::from_secs(90 * 24 * 3600),
            checkpoint_interval: Duration::from_secs(60),
            rate: Rate { per_second: 2_000, burst: 4_000 },
            sign_in_failures_per_name: 10,
            sign_in_failures_per_address: 60,
            sign_in_window: Duration::from_secs(60),
            self_approval: false,
            password_cost: PasswordCost::default(),
            log_name: "posse/audit".to_owned(),
            engine: "sqlite",
            body_bytes_max: 1 << 20,
            sign_in: Vec::new(),
            questions: QuestionLimits::default(),
            ingest_quota: None,
            ingest_body_bytes_max: 32 << 20,
            ingest_memory_bytes_max: 256 << 20,
            connector_hosts_inside: Vec::new(),
            anchors: Vec::new(),
            solver: None,
        }
    }
}
