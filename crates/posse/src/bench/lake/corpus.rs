//! A corpus made from a seed: native records of six kinds with realistic entropy, in batches of one tenant and one short
//! stretch of time each. The same seed gives the same bytes; every batch can be made by itself.

use std::fmt::Write as _;

/// Planted: an address that stands in [`Corpus::needles`] records and nowhere else.
pub(super) const NEEDLE_IP: &str = "203.0.113.77";
/// Planted: a digest.
pub(super) const NEEDLE_SHA256: &str = "5F3A9C0E7B1D42868E6F0A9B3C7D15E24F8091A2B3C4D5E6F708192A3B4C5D6E";
const NEEDLE_IP_HITS: u64 = 8;
const NEEDLE_SHA256_HITS: u64 = 9;
const NEEDLE_ENCODED_HITS: u64 = 75;
const DAYS: u64 = 30;
const DAY_SECS: u64 = 86_400;

/// What is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Corpus {
    /// Decides everything.
    pub(crate) seed: u64,
    /// How many records in all.
    pub(crate) events: u64,
    /// How many tenants, zipf with exponent 0.9.
    pub(crate) tenants: u32,
    /// Records of one batch.
    pub(crate) batch: u64,
    /// Seconds since 1970 at which its 30 days end.
    pub(crate) end_secs: u64,
}

/// Records of one tenant, one a line.
pub(super) struct Made {
    /// From 0.
    pub(super) tenant: u32,
    /// The records.
    pub(super) body: Vec<u8>,
}

/// `SplitMix64` (Steele, Lea, Flood, 2014).
#[derive(Clone)]
struct Chance(u64);

impl Chance {
    fn of(seed: u64, place: u64) -> Self {
        let mut chance = Self(seed ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        chance.next();
        chance
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to `end`, without its end.
    fn below(&mut self, end: u64) -> u64 {
        self.next().checked_rem(end).unwrap_or(0)
    }

    /// Small numbers more often: the smaller of three.
    fn skewed(&mut self, end: u64) -> u64 {
        self.below(end).min(self.below(end)).min(self.below(end))
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        let end = u64::try_from(words.len()).unwrap_or(1);
        usize::try_from(self.skewed(end)).ok().and_then(|place| words.get(place).copied()).unwrap_or("")
    }

    fn hex(&mut self, digits: usize) -> String {
        let mut text = String::with_capacity(digits + 16);
        while text.len() < digits {
            let _ = write!(text, "{:016X}", self.next());
        }
        text.truncate(digits);
        text
    }

    fn guid(&mut self) -> String {
        let (a, b) = (self.next(), self.next());
        let (high, low) = (a >> 32, b & 0xffff_ffff_ffff);
        format!("{{{high:08x}-{:04x}-4{:03x}-a{:03x}-{low:012x}}}", (a >> 16) & 0xffff, a & 0xfff, (b >> 52) & 0xfff)
    }
}

const IMAGES: &[&str] = &[
    "svchost.exe",
    "conhost.exe",
    "backgroundTaskHost.exe",
    "RuntimeBroker.exe",
    "taskhostw.exe",
    "chrome.exe",
    "msedge.exe",
    "OUTLOOK.EXE",
    "Teams.exe",
    "cmd.exe",
    "powershell.exe",
    "WmiPrvSE.exe",
    "SearchProtocolHost.exe",
    "dllhost.exe",
    "MsMpEng.exe",
    "git.exe",
    "node.exe",
    "python.exe",
    "rundll32.exe",
    "sc.exe",
    "net.exe",
    "reg.exe",
    "schtasks.exe",
    "wevtutil.exe",
    "tasklist.exe",
    "whoami.exe",
    "ipconfig.exe",
    "nslookup.exe",
    "curl.exe",
    "7z.exe",
    "javaw.exe",
];
const PARENTS: &[&str] = &[
    "services.exe",
    "svchost.exe",
    "explorer.exe",
    "cmd.exe",
    "chrome.exe",
    "Teams.exe",
    "powershell.exe",
    "node.exe",
    "wininit.exe",
    "userinit.exe",
    "OUTLOOK.EXE",
    "WINWORD.EXE",
    "jenkins.exe",
    "Code.exe",
];
const ACTIONS: &[&str] = &[
    "/c dir",
    "-k netsvcs -p -s",
    "--type=renderer --lang=en-US --client-id=",
    "-Embedding",
    "-NoProfile -File build.ps1 -run ",
    "status --porcelain -z -u",
    "--standard-schemes --pipe=",
    "query user ",
    "/s /q ",
    "-m pip install pkg-",
    "view \\\\fs",
];
const NAMES: &[&str] = &[
    "alice",
    "bob",
    "carol",
    "dave",
    "erin",
    "frank",
    "grace",
    "heidi",
    "ivan",
    "judy",
    "mallory",
    "niaj",
    "olivia",
    "peggy",
    "rupert",
    "sybil",
    "trent",
    "victor",
    "walter",
    "svc-backup",
    "svc-deploy",
    "svc-sql",
    "admin",
    "helpdesk",
];
const ZONES: &[&str] = &[
    "example.com",
    "cdn-edge.net",
    "windowsupdate.example",
    "telemetry.example.org",
    "cloudfront.example",
    "corp.internal",
    "mail.example.com",
    "api.vendor.example",
    "objects.example.io",
    "ads.example.biz",
];
const CALLS: &[(&str, &str)] = &[
    ("s3.amazonaws.com", "GetObject"),
    ("sts.amazonaws.com", "AssumeRole"),
    ("ec2.amazonaws.com", "DescribeInstances"),
    ("iam.amazonaws.com", "ListUsers"),
    ("kms.amazonaws.com", "Decrypt"),
    ("logs.amazonaws.com", "PutLogEvents"),
    ("iam.amazonaws.com", "CreateAccessKey"),
    ("ec2.amazonaws.com", "RunInstances"),
];
const VERBS: &[&str] = &["get", "list", "watch", "update", "patch", "create", "delete"];
const OBJECTS: &[&str] =
    &["pods", "leases", "configmaps", "secrets", "endpoints", "deployments", "events", "serviceaccounts"];

impl Corpus {
    /// How many batches.
    pub(super) fn batches(&self) -> u64 {
        self.events.div_ceil(self.batch.max(1))
    }

    /// When its 30 days begin, in seconds since 1970.
    pub(super) fn start_secs(&self) -> u64 {
        self.end_secs.saturating_sub(DAYS * DAY_SECS)
    }

    /// One batch.
    pub(super) fn make(&self, place: u64) -> Made {
        let mut chance = Chance::of(self.seed, place);
        let tenant = self.tenant(&mut chance);
        let first = place.saturating_mul(self.batch);
        let events = self.batch.min(self.events.saturating_sub(first));
        let mut body = String::with_capacity(usize::try_from(events).unwrap_or(0).saturating_mul(1100));
        for nth in first..first.saturating_add(events) {
            let millis = self.millis(nth).saturating_add(chance.below(2000));
            let mut record = Record { corpus: self, nth, tenant, millis, chance: &mut chance, out: &mut body };
            record.write();
            body.push('\n');
        }
        Made { tenant, body: body.into_bytes() }
    }

    /// Milliseconds since 1970 of a record: the 30 days, evenly.
    fn millis(&self, nth: u64) -> u64 {
        let span = u128::from(DAYS * DAY_SECS) * 1000;
        let past = span * u128::from(nth) / u128::from(self.events.max(1));
        self.start_secs() * 1000 + u64::try_from(past).unwrap_or(0)
    }

    /// Zipf 0.9 by inversion of its integral: close enough, and no table.
    fn tenant(&self, chance: &mut Chance) -> u32 {
        let unit = f64::from(u32::try_from(chance.next() >> 32).unwrap_or(0)) / 4_294_967_296.0;
        let top = (f64::from(self.tenants) + 1.0).powf(0.1) - 1.0;
        let rank = (unit * top + 1.0).powf(10.0) - 1.0;
        (0..self.tenants).find(|tenant| f64::from(*tenant) + 1.0 > rank).unwrap_or(0)
    }

    /// Whether the record at this place carries one of `hits` needles that are spread evenly over its kind.
    fn planted(&self, nth: u64, hits: u64, salt: u64) -> bool {
        let step = self.events.checked_div(hits).unwrap_or(0).max(1);
        nth % step == salt.min(step - 1) && nth / step < hits
    }
}

/// One record on its way out.
struct Record<'a> {
    corpus: &'a Corpus,
    nth: u64,
    tenant: u32,
    millis: u64,
    chance: &'a mut Chance,
    out: &'a mut String,
}

impl Record<'_> {
    fn write(&mut self) {
        // Rounded up: the first of them lies within the last seven days, whatever the number of events.
        let encoded_from = self.corpus.events.saturating_mul(23).div_ceil(30);
        let last_week = self.corpus.events.saturating_sub(encoded_from);
        let step = (last_week / NEEDLE_ENCODED_HITS).max(1);
        let due = |nth: u64| {
            nth >= encoded_from
                && (nth - encoded_from) % step == 3_u64.min(step - 1)
                && (nth - encoded_from) / step < NEEDLE_ENCODED_HITS
        };
        let address = |nth: u64| self.corpus.planted(nth, NEEDLE_IP_HITS, 7);
        // Where both fall on one record, the command goes to the next.
        let before = self.nth.checked_sub(1).is_some_and(|before| due(before) && address(before));
        let encoded = before || due(self.nth) && !address(self.nth);
        let address = address(self.nth);
        let digest = self.corpus.planted(self.nth, NEEDLE_SHA256_HITS, 11);
        if encoded || digest {
            return self.process(encoded, digest);
        }
        if address {
            return self.network(true);
        }
        match self.chance.below(100) {
            0..30 => self.process(false, false),
            30..60 => self.network(false),
            60..80 => self.dns(),
            80..88 => self.logon(),
            88..95 => self.cloud(),
            _ => self.cluster(),
        }
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a text cannot fail.
        let _ = self.out.write_fmt(text);
    }

    fn host(&mut self) -> String {
        let host = self.chance.skewed(400);
        format!("ws{host:04}.t{:03}.example.com", self.tenant)
    }

    fn user(&mut self) -> &'static str {
        self.chance.pick(NAMES)
    }

    fn inner_ip(&mut self) -> String {
        let (a, b) = (self.chance.skewed(16), self.chance.below(250) + 2);
        format!("10.{}.{a}.{b}", self.tenant % 250)
    }

    fn outer_ip(&mut self) -> String {
        // Addresses that a tenant sees come back; a tenth are new.
        let word = if self.chance.below(10) == 0 {
            self.chance.next()
        } else {
            Chance::of(77, self.chance.skewed(40_000)).next()
        };
        format!("{}.{}.{}.{}", 20 + (word >> 8) % 160, (word >> 16) % 256, (word >> 24) % 256, 1 + (word >> 32) % 254)
    }

    fn stamp(&self) -> String {
        let (secs, millis) = (self.millis / 1000, self.millis % 1000);
        let (days, of_day) = (secs / DAY_SECS, secs % DAY_SECS);
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }

    /// What each Sysmon record of a shipper begins with.
    fn sysmon(&mut self, id: u32, category: &str) {
        let (stamp, host, record) = (self.stamp(), self.host(), self.nth);
        let (process, thread) = (2000 + self.chance.skewed(3000), 4 * self.chance.below(4000));
        self.put(format_args!(
            "{{\"EventTime\":\"{stamp}\",\"@timestamp\":\"{stamp}\",\"Hostname\":\"{host}\",\"EventID\":{id},\"Channel\":\"Microsoft-Windows-Sysmon/Operational\",\
             \"SourceName\":\"Microsoft-Windows-Sysmon\",\"ProviderGuid\":\"{{5770385F-C22A-43E0-BF4C-06F5698FFBD9}}\",\"Category\":\"{category}\",\
             \"Version\":5,\"Task\":{id},\"OpcodeValue\":0,\"RecordNumber\":{record},\"ExecutionProcessID\":{process},\"ThreadID\":{thread},\
             \"AccountName\":\"SYSTEM\",\"UserID\":\"S-1-5-18\",\"AccountType\":\"User\",\"Domain\":\"NT AUTHORITY\",\"Severity\":\"INFO\",\
             \"SeverityValue\":2,\"SourceModuleName\":\"eventlog\",\"SourceModuleType\":\"im_msvistalog\",\"RuleName\":\"-\",\"UtcTime\":\"{}\"",
            stamp.trim_end_matches('Z').replace('T', " ")
        ));
    }

    fn process(&mut self, encoded: bool, digest: bool) {
        self.sysmon(1, "Process Create (rule: ProcessCreate)");
        let image = if encoded { "powershell.exe" } else { self.chance.pick(IMAGES) };
        let (parent, user) = (self.chance.pick(PARENTS), self.user());
        let argument = self.chance.hex(16 + usize::try_from(self.chance.clone().below(33)).unwrap_or(0));
        let action = if encoded { "-nop -w hidden -enc " } else { self.chance.pick(ACTIONS) };
        let known = Chance::of(5, (u64::try_from(image.len()).unwrap_or(0) % 97) ^ self.chance.skewed(600)).hex(64);
        let sha256 = if digest { NEEDLE_SHA256.to_owned() } else { known };
        let (md5, imphash) = (
            Chance::of(6, u64::from_str_radix(sha256.get(..15).unwrap_or("0"), 16).unwrap_or(0)).hex(32),
            self.chance.hex(32),
        );
        let (own, above, logon) = (self.chance.guid(), self.chance.guid(), self.chance.guid());
        let (pid, above_pid) = (4 * self.chance.below(9000), 4 * self.chance.below(9000));
        let logon_id = self.chance.below(0x00ff_ffff);
        let tenant = self.tenant;
        self.put(format_args!(
            ",\"ProcessGuid\":\"{own}\",\"ProcessId\":\"{pid}\",\"Image\":\"C:\\\\Windows\\\\System32\\\\{image}\",\"OriginalFileName\":\"{image}\",\
             \"CommandLine\":\"C:\\\\Windows\\\\System32\\\\{image} {action}{argument}\",\"CurrentDirectory\":\"C:\\\\Users\\\\{user}\\\\\",\
             \"User\":\"T{tenant:03}\\\\{user}\",\"LogonGuid\":\"{logon}\",\"LogonId\":\"0x{logon_id:x}\",\"IntegrityLevel\":\"Medium\",\
             \"Hashes\":\"MD5={md5},SHA256={sha256},IMPHASH={imphash}\",\"ParentProcessGuid\":\"{above}\",\"ParentProcessId\":\"{above_pid}\",\
             \"ParentImage\":\"C:\\\\Windows\\\\System32\\\\{parent}\",\"ParentCommandLine\":\"C:\\\\Windows\\\\System32\\\\{parent}\"}}"
        ));
    }

    fn network(&mut self, needle: bool) {
        self.sysmon(3, "Network connection detected (rule: NetworkConnect)");
        let (image, user) = (self.chance.pick(IMAGES), self.user());
        let (from, to) = (self.inner_ip(), if needle { NEEDLE_IP.to_owned() } else { self.outer_ip() });
        let (guid, pid, port) = (self.chance.guid(), 4 * self.chance.below(9000), 49_152 + self.chance.below(16_000));
        let service = self.chance.pick(&["443", "443", "80", "53", "445", "8443", "22", "3389"]);
        let zone = self.chance.pick(ZONES);
        let name = Chance::of(9, self.chance.skewed(30_000)).hex(10).to_lowercase();
        let tenant = self.tenant;
        self.put(format_args!(
            ",\"ProcessGuid\":\"{guid}\",\"ProcessId\":\"{pid}\",\"Image\":\"C:\\\\Windows\\\\System32\\\\{image}\",\"User\":\"T{tenant:03}\\\\{user}\",\
             \"Protocol\":\"tcp\",\"Initiated\":\"true\",\"SourceIsIpv6\":\"false\",\"SourceIp\":\"{from}\",\"SourceHostname\":\"-\",\"SourcePort\":\"{port}\",\
             \"SourcePortName\":\"-\",\"DestinationIsIpv6\":\"false\",\"DestinationIp\":\"{to}\",\"DestinationHostname\":\"{name}.{zone}\",\
             \"DestinationPort\":\"{service}\",\"DestinationPortName\":\"-\"}}"
        ));
    }

    fn dns(&mut self) {
        self.sysmon(22, "Dns query (rule: DnsQuery)");
        let (image, user, zone) = (self.chance.pick(IMAGES), self.user(), self.chance.pick(ZONES));
        let name = Chance::of(9, self.chance.skewed(30_000)).hex(10).to_lowercase();
        let (guid, pid, answer) = (self.chance.guid(), 4 * self.chance.below(9000), self.outer_ip());
        let tenant = self.tenant;
        self.put(format_args!(
            ",\"ProcessGuid\":\"{guid}\",\"ProcessId\":\"{pid}\",\"QueryName\":\"{name}.{zone}\",\"QueryStatus\":\"0\",\
             \"QueryResults\":\"type:  5 edge.{zone};::ffff:{answer};\",\"Image\":\"C:\\\\Windows\\\\System32\\\\{image}\",\"User\":\"T{tenant:03}\\\\{user}\"}}"
        ));
    }

    fn logon(&mut self) {
        let (stamp, host, record, user, from) = (self.stamp(), self.host(), self.nth, self.user(), self.inner_ip());
        let (guid, id, kind) =
            (self.chance.guid(), self.chance.below(0x00ff_ffff), self.chance.pick(&["3", "5", "2", "10", "7"]));
        let port = 49_152 + self.chance.below(16_000);
        let tenant = self.tenant;
        self.put(format_args!(
            "{{\"EventTime\":\"{stamp}\",\"@timestamp\":\"{stamp}\",\"Hostname\":\"{host}\",\"EventID\":4624,\"Channel\":\"Security\",\
             \"SourceName\":\"Microsoft-Windows-Security-Auditing\",\"ProviderGuid\":\"{{54849625-5478-4994-A5BA-3E3B0328C30D}}\",\"Category\":\"Logon\",\
             \"Task\":12544,\"Version\":2,\"RecordNumber\":{record},\"Keywords\":-9214364837600034816,\"EventType\":\"AUDIT_SUCCESS\",\
             \"SubjectUserSid\":\"S-1-0-0\",\"SubjectUserName\":\"-\",\"SubjectDomainName\":\"-\",\"SubjectLogonId\":\"0x0\",\
             \"TargetUserSid\":\"S-1-5-21-1004336348-1177238915-682003330-{}\",\"TargetUserName\":\"{user}\",\"TargetDomainName\":\"T{tenant:03}\",\
             \"TargetLogonId\":\"0x{id:x}\",\"LogonType\":\"{kind}\",\"LogonProcessName\":\"Kerberos\",\"AuthenticationPackageName\":\"Kerberos\",\
             \"WorkstationName\":\"-\",\"LogonGuid\":\"{guid}\",\"TransmittedServices\":\"-\",\"LmPackageName\":\"-\",\"KeyLength\":\"0\",\
             \"ProcessId\":\"0x0\",\"ProcessName\":\"-\",\"IpAddress\":\"{from}\",\"IpPort\":\"{port}\",\"ImpersonationLevel\":\"%%1833\",\
             \"ElevatedToken\":\"%%1842\"}}",
            1000 + id % 500
        ));
    }

    fn cloud(&mut self) {
        let (stamp, user, from) = (self.stamp(), self.user(), self.outer_ip());
        let (mut service, mut call) = ("", "");
        let place = usize::try_from(self.chance.skewed(8)).unwrap_or(0);
        if let Some((own, other)) = CALLS.get(place) {
            (service, call) = (own, other);
        }
        let (id, request, key) = (self.chance.guid(), self.chance.hex(16), self.chance.hex(16));
        let account = 100_000_000_000 + u64::from(self.tenant) * 7919;
        self.put(format_args!(
            "{{\"eventVersion\":\"1.08\",\"userIdentity\":{{\"type\":\"IAMUser\",\"principalId\":\"AIDA{key}\",\"arn\":\"arn:aws:iam::{account}:user/{user}\",\
             \"accountId\":\"{account}\",\"accessKeyId\":\"AKIA{key}\",\"userName\":\"{user}\"}},\"eventTime\":\"{}\",\"eventSource\":\"{service}\",\
             \"eventName\":\"{call}\",\"awsRegion\":\"eu-central-1\",\"sourceIPAddress\":\"{from}\",\"userAgent\":\"aws-cli/2.15.30 Python/3.11.8 Linux/5.10 exe/x86_64\",\
             \"requestParameters\":{{\"name\":\"obj-{request}\",\"bucketName\":\"logs-{account}\",\"key\":\"2026/11/{request}.gz\"}},\"responseElements\":null,\
             \"requestID\":\"{request}\",\"eventID\":\"{}\",\"readOnly\":true,\"eventType\":\"AwsApiCall\",\"managementEvent\":true,\
             \"recipientAccountId\":\"{account}\",\"eventCategory\":\"Management\",\"tlsDetails\":{{\"tlsVersion\":\"TLSv1.3\",\"cipherSuite\":\"TLS_AES_128_GCM_SHA256\",\
             \"clientProvidedHostHeader\":\"{service}\"}}}}",
            format_args!("{}Z", stamp.get(..19).unwrap_or("")),
            id.trim_matches(['{', '}'])
        ));
    }

    fn cluster(&mut self) {
        let (stamp, from, verb, object) =
            (self.stamp(), self.inner_ip(), self.chance.pick(VERBS), self.chance.pick(OBJECTS));
        let (id, name) = (self.chance.guid(), self.chance.hex(10).to_lowercase());
        let space = self.chance.pick(&["default", "kube-system", "payments", "web", "monitoring"]);
        let code = if verb == "create" { 201 } else { 200 };
        self.put(format_args!(
            "{{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"level\":\"Metadata\",\"auditID\":\"{}\",\"stage\":\"ResponseComplete\",\
             \"requestURI\":\"/api/v1/namespaces/{space}/{object}/{name}?timeout=10s\",\"verb\":\"{verb}\",\"user\":{{\"username\":\"system:serviceaccount:{space}:worker\",\
             \"uid\":\"{}\",\"groups\":[\"system:serviceaccounts\",\"system:authenticated\"]}},\"sourceIPs\":[\"{from}\"],\
             \"userAgent\":\"kube-controller-manager/v1.30.2 (linux/amd64) kubernetes/3968350\",\"objectRef\":{{\"resource\":\"{object}\",\"namespace\":\"{space}\",\
             \"name\":\"{name}\",\"apiVersion\":\"v1\"}},\"responseStatus\":{{\"metadata\":{{}},\"code\":{code}}},\"requestReceivedTimestamp\":\"{stamp}\",\
             \"stageTimestamp\":\"{stamp}\",\"annotations\":{{\"authorization.k8s.io/decision\":\"allow\",\"authorization.k8s.io/reason\":\"RBAC: allowed by RoleBinding worker\"}}}}",
            id.trim_matches(['{', '}']),
            id.trim_matches(['{', '}'])
        ));
    }
}

/// Year, month and day of a day since 1970 (Howard Hinnant's `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let moved = (5 * of_year + 2) / 153;
    let day = of_year - (153 * moved + 2) / 5 + 1;
    let month = if moved < 10 { moved + 3 } else { moved - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corpus() -> Corpus {
        Corpus { seed: 1, events: 20_000, tenants: 20, batch: 500, end_secs: 1_795_000_000 }
    }

    #[test]
    fn the_same_seed_gives_the_same_records_and_every_needle() {
        let corpus = corpus();
        let all: Vec<String> = (0..corpus.batches())
            .map(|place| String::from_utf8(corpus.make(place).body).expect("records are UTF-8"))
            .collect();
        assert_eq!(all.get(7), String::from_utf8(corpus.make(7).body).ok().as_ref());
        let text = all.concat();
        assert_eq!(text.lines().count(), 20_000);
        for line in text.lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        }
        let hits =
            |needle: &str| u64::try_from(text.lines().filter(|line| line.contains(needle)).count()).expect("small");
        assert_eq!(hits(NEEDLE_IP), NEEDLE_IP_HITS);
        assert_eq!(hits(NEEDLE_SHA256), NEEDLE_SHA256_HITS);
        assert_eq!(hits(" -enc "), NEEDLE_ENCODED_HITS);
        let mean = text.len() / 20_000;
        assert!((800..1200).contains(&mean), "about a kilobyte each: {mean}");
    }
}
