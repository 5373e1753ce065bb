//! Entries: one spelling, bounded size, and payloads that match.

use crate::fixture::{record, tenant, text, time};
use audit::{
    Aggregate, ApprovalUse, ENTRY_BYTES_MAX, FormatVersion, Leaf, Payload, PayloadError, Record, RecordError, Salt,
    TenantCheckpoint,
};
use ids::{ApprovalId, List, Owner, Principal, Text};
use seal::Digest;

fn encoded(record: &Record) -> Vec<u8> {
    Leaf::Call(Box::new(record.clone())).encode().unwrap()
}

/// The same value through the general writer of canonical JSON.
fn sorted(bytes: &[u8]) -> Vec<u8> {
    seal::canonical_json(&serde_json::from_slice(bytes).unwrap()).unwrap()
}

#[test]
fn an_entry_reads_back_and_has_one_spelling() {
    let owner = Owner::Tenant(tenant("acme"));
    for index in 0..8 {
        let (record, _) = record(owner, index);
        let bytes = encoded(&record);
        assert_eq!(bytes, sorted(&bytes), "members in canonical order");
        assert_eq!(Leaf::decode(&bytes), Ok(Leaf::Call(Box::new(record))));
        let line = String::from_utf8(bytes).unwrap();
        let unknown = line.replacen('{', "{\"added\":1,", 1);
        assert!(matches!(Leaf::decode(unknown.as_bytes()), Err(RecordError::Format(_))), "unknown field");
        for other in
            [line.replacen(':', ": ", 1), line.replacen("\"v\":1", "\"run\":null,\"v\":1", 1), format!("{line}\n")]
        {
            assert!(Leaf::decode(other.as_bytes()).is_err(), "{other}");
        }
        let newer = line.replacen("\"v\":1", "\"v\":2", 1);
        assert!(Leaf::decode(newer.as_bytes()).unwrap_err().to_string().contains("format version 2 is unknown"));
    }
    assert!(Leaf::decode(b"").is_err());
}

#[test]
fn a_checkpoint_entry_belongs_to_the_provider() {
    let head =
        TenantCheckpoint { v: FormatVersion, time: time(0), tenant: tenant("acme"), size: 3, root: Digest::of(b"r") };
    let leaf = Leaf::Checkpoint(head);
    assert_eq!(leaf.owner(), Owner::Provider);
    let bytes = leaf.encode().unwrap();
    assert_eq!(bytes, sorted(&bytes));
    assert_eq!(Leaf::decode(&bytes), Ok(leaf));
}

#[test]
fn the_largest_record_fits_an_entry() {
    // A control character takes six bytes in JSON, the most that a character can.
    fn worst<const MAX: usize>() -> Text<MAX> {
        text(&"\u{1}".repeat(MAX))
    }
    fn many<T: Clone, const MAX: usize>(item: &T) -> List<T, MAX> {
        List::new(vec![item.clone(); MAX]).unwrap()
    }
    let (mut record, _) = record(Owner::Tenant(tenant("acme")), 3);
    let someone = Principal::System("x".repeat(64));
    record.principal = someone.clone();
    record.on_behalf_of = many(&someone);
    record.operation = worst();
    record.target = Some(audit::Target { kind: worst(), id: worst() });
    record.decision.policies = many(&worst());
    record.decision.obligations = many(&worst());
    record.decision.rung = Some(worst());
    record.approvals = many(&ApprovalUse { approval: ApprovalId::derive(&[]), approvers: many(&someone) });
    record.outcome.problem = Some(worst());
    record.outcome.error = Some(worst());
    record.outcome.status = 65_535;
    record.duration_us = seal::INTEGER_MAX;
    record.origin.address = Some(worst());
    record.origin.user_agent = Some(worst());
    record.origin.request = Some(worst());
    let digest = Some(Digest::of(b""));
    record.agent = Some(audit::AgentDigests { charter: digest, model: digest, prompt: digest, skill: digest });
    record.aggregate = Some(Aggregate { count: seal::INTEGER_MAX, since: time(1), until: time(2) });
    let bytes = encoded(&record);
    assert!(bytes.len() <= ENTRY_BYTES_MAX, "{}", bytes.len());
    // Every member is there, and every character that JSON must escape.
    assert_eq!(bytes, sorted(&bytes));
    record.outcome.error = Some(text("\u{8}\t\n\u{c}\r\u{1f}\"\\/\u{7f}\u{2028}é\u{1f600}"));
    assert_eq!(encoded(&record), sorted(&encoded(&record)));
    record.duration_us += 1;
    assert!(matches!(Leaf::Call(Box::new(record)).encode(), Err(RecordError::Number(_))));
}

#[test]
fn a_payload_matches_only_its_record() {
    let owner = Owner::Provider;
    let ((record, payload), (_, other)) = (record(owner, 1), record(owner, 2));
    assert_eq!(record.check_payload(&payload), Ok(()));
    assert_eq!(record.check_payload(&other), Err(PayloadError::Call));
    let salted = Payload { salt: Salt::from_bytes([0; 32]), ..payload.clone() };
    assert_eq!(record.check_payload(&salted), Err(PayloadError::Changed));
    let unnamed = Record { input_digest: None, ..record };
    assert_eq!(unnamed.check_payload(&payload), Err(PayloadError::Unnamed));
    let line = payload.encode().unwrap();
    assert_eq!(Payload::decode(&line), Ok(payload));
    assert_eq!(Payload::decode(&[line.as_slice(), b" "].concat()), Err(PayloadError::Format));
}
