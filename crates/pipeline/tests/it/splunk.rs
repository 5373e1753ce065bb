//! Splunk's codes and acknowledgement ids.

use ids::Timestamp;
use pipeline::hec::{Acks, Channel, Code};

fn channel(key: &str, number: u128) -> Channel {
    Channel { key: key.to_owned(), channel: number }
}

#[test]
fn codes_are_splunks() {
    let codes = [
        (Code::Success, 200, r#"{"text":"Success","code":0}"#),
        (Code::TokenDisabled, 403, r#"{"text":"Token disabled","code":1}"#),
        (Code::TokenRequired, 401, r#"{"text":"Token is required","code":2}"#),
        (Code::InvalidAuthorization, 401, r#"{"text":"Invalid authorization","code":3}"#),
        (Code::InvalidToken, 403, r#"{"text":"Invalid token","code":4}"#),
        (Code::InvalidIndex, 400, r#"{"text":"Incorrect index","code":7}"#),
        (Code::InternalError, 500, r#"{"text":"Internal server error","code":8}"#),
        (Code::Busy, 503, r#"{"text":"Server is busy","code":9}"#),
        (Code::ChannelMissing, 400, r#"{"text":"Data channel is missing","code":10}"#),
        (Code::AckDisabled, 400, r#"{"text":"ACK is disabled","code":14}"#),
        (Code::Healthy, 200, r#"{"text":"HEC is healthy","code":17}"#),
    ];
    for (code, status, body) in codes {
        assert_eq!((code.status(), code.body().as_str()), (status, body));
    }
    assert_eq!(Code::Success.body_with_ack(7), r#"{"text":"Success","code":0,"ackId":7}"#);
}

#[test]
fn an_id_is_told_once_and_belongs_to_its_channel_and_key() {
    let mut acks = Acks::new(10, 10);
    let now = Timestamp::from_micros(1);
    let mine = channel("a", 1);
    assert_eq!([acks.give(&mine, now), acks.give(&mine, now)], [0, 1]);
    assert_eq!(acks.give(&channel("b", 1), now), 0);
    let mut ask = |channel: &Channel, body: &str| acks.answer(channel, body.as_bytes(), now);
    assert_eq!(ask(&mine, r#"{"acks":[0,9]}"#).unwrap(), r#"{"acks":{"0":true,"9":false}}"#);
    assert_eq!(ask(&mine, r#"{"acks":[0,1,1]}"#).unwrap(), r#"{"acks":{"0":false,"1":true}}"#);
    assert_eq!(ask(&channel("c", 1), r#"{"acks":[0]}"#).unwrap(), r#"{"acks":{"0":false}}"#);
    assert_eq!(ask(&channel("b", 1), r#"{"acks":[0]}"#).unwrap(), r#"{"acks":{"0":true}}"#);
    assert_eq!(ask(&mine, "nonsense").unwrap_err().code, Code::InvalidFormat);
}

#[test]
fn channels_and_ids_are_bounded() {
    let mut acks = Acks::new(2, 3);
    for (at, number) in [(1, 1), (2, 2), (3, 1), (4, 3)] {
        acks.give(&channel("a", number), Timestamp::from_micros(at));
    }
    let now = Timestamp::from_micros(5);
    // Channel 2 had been quiet the longest.
    assert_eq!(acks.answer(&channel("a", 2), br#"{"acks":[0]}"#, now).unwrap(), r#"{"acks":{"0":false}}"#);
    assert_eq!(acks.answer(&channel("a", 1), br#"{"acks":[0,1]}"#, now).unwrap(), r#"{"acks":{"0":true,"1":true}}"#);
    let many = channel("a", 1);
    for _ in 0..5 {
        acks.give(&many, now);
    }
    let answer = acks.answer(&many, br#"{"acks":[2,3,4,5,6]}"#, now).unwrap();
    assert_eq!(answer, r#"{"acks":{"2":false,"3":false,"4":true,"5":true,"6":true}}"#);
}

#[test]
fn a_channel_is_a_uuid() {
    assert_eq!(Channel::new("k", "FE0ECFAD-13D5-401B-847D-77833BD77131").unwrap().channel >> 96, 0xfe0e_cfad);
    for text in ["", "1", "fe0ecfad-13d5-401b-847d-77833bd7713", "ge0ecfad-13d5-401b-847d-77833bd77131"] {
        assert_eq!(Channel::new("k", text).unwrap_err().code, Code::InvalidChannel, "{text}");
    }
}
