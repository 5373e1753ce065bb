//! What ordinary telemetry looks like: the prior by which rare literals are told from common ones.

use std::sync::LazyLock;

/// Folded values that ordinary Windows and cloud records are full of.
const TYPICAL: &str = r#"
c:\windows\system32\svchost.exe -k netsvcs -p -s schedule c:\windows\system32\cmd.exe /c "c:\windows\syswow64\
c:\windows\system32\windowspowershell\v1.0\powershell.exe c:\windows\explorer.exe c:\program files\ c:\program files (x86)\
c:\windows\system32\ntdll.dll+9c524|c:\windows\system32\kernelbase.dll+2730e|c:\windows\system32\rpcrt4.dll+76963|
c:\windows\system32\combase.dll+a5443|c:\windows\system32\kernel32.dll+17974 unknown(00007ff) c:\windows\system32\lsass.exe
c:\windows\system32\services.exe c:\windows\system32\wbem\wmiprvse.exe c:\windows\system32\conhost.exe 0xffffffff -forcev1
c:\programdata\microsoft\windows defender\ c:\users\administrator\appdata\local\temp\ appdata\roaming\microsoft\ .tmp .log .dat
hklm\system\currentcontrolset\services\tcpip\parameters\ hklm\software\microsoft\windows\currentversion\ hkcr\ hku\s-1-5-21-
software\policies\microsoft\windows nt\ control\ setvalue createkey deletekey dword (0x00000001) binary data
nt authority\system network service local service microsoft® windows® operating system microsoft corporation
microsoft-windows-security-auditing microsoft-windows-sysmon/operational security system application auditing
0x1000 0x1010 0x1400 0x1fffff 0x3e7 %%1936 %%1938 {00000000-0000-0000-0000-000000000000} s-1-5-18 s-1-0-0
http:// https:// .com/ 127.0.0.1 10.0.0.0 192.168.0.0 ::1 true false null information audit_success info
sha1= md5= sha256= imphash= 10.0.17763.1 (winbuild.160101.0800) user name account domain logon process kerberos ntlm
us-east-1 amazonaws.com aws:iam arn: awsapicall root assumed-role describe get list mozilla/5.0 windows .dll .exe .sys
function param return write-host get-item set-item new-object module import-module $null $_ invoke foreach-object
"#;

static GRAMS: LazyLock<Vec<u16>> = LazyLock::new(|| {
    let mut counts = vec![0_u16; 1 << 16];
    for pair in TYPICAL.as_bytes().array_windows::<2>() {
        if let Some(count) = counts.get_mut(usize::from(u16::from_le_bytes(*pair))) {
            *count = count.saturating_add(1);
        }
    }
    counts
});

/// Fields whose values are long: reading them for a few rules costs more than a commoner witness elsewhere.
const LONG: [&str; 8] =
    ["CallTrace", "ContextInfo", "Data", "HostApplication", "Message", "Payload", "ScriptBlockText", "Details"];

/// What a needle in this field costs beside its share.
pub(super) fn reading(field: &str) -> f64 {
    if LONG.contains(&field) { 0.06 } else { 0.0 }
}

/// How common a four-byte gram is: higher is more common. Compares grams, means nothing in itself.
pub(super) fn commonness(gram: u32) -> u32 {
    let [a, b, c, d] = gram.to_le_bytes();
    let pair = |a: u8, b: u8| u32::from(GRAMS.get(usize::from(u16::from_le_bytes([a, b]))).copied().unwrap_or(0));
    // The rarest pair rules a gram out; the sum breaks ties.
    let pairs = [pair(a, b), pair(b, c), pair(c, d)];
    let rarest = pairs.iter().min().copied().unwrap_or(0);
    rarest.saturating_mul(1024).saturating_add(pairs.iter().sum())
}

/// A guess of the share of values in which the folded literal occurs, between 0 and 1.
pub(super) fn share(literal: &str, whole: bool) -> f64 {
    let length = literal.chars().count();
    let known = TYPICAL.contains(literal);
    let by_length = match length {
        0..=1 => 0.6,
        2 => 0.4,
        3 => 0.2,
        4 => 0.01,
        5 => 0.004,
        6..=7 => 0.001,
        _ => 0.0003,
    };
    match (known, whole) {
        (true, true) => 0.1_f64.max(by_length),
        (true, false) => (0.1 / f64::from(u32::try_from(length / 8).unwrap_or(0).saturating_add(1))).max(by_length),
        (false, true) => by_length / 4.0,
        (false, false) => by_length,
    }
}
