//! Nothing that comes from outside brings the parsers or the engine down: any text as rule, any bytes as record.

use detection::engine::{Engine, Scratch};
use detection::profile::{Format, Profile};
use detection::sigma::{Collection, Regexp, RegexpFlags};
use proptest::prelude::*;

const SEED: &str = "title: t\nid: r\nname: n\nstatus: test\nlevel: high\ntags: [attack.t1059]\nlogsource:\n  product: windows\n  \
category: process_creation\ndetection:\n  sel:\n    Image|endswith:\n      - '\\cmd.exe'\n      - \"\\\\x\"\n    A|re|i: 'a(b|c)+'\n    \
B|windash|contains|all: [' -a ', ' /b ']\n    C|cidr: 10.0.0.0/8\n    D: null\n  kw:\n    - mimikatz\n  condition: 1 of sel* and not kw\n---\n\
title: c\nid: c\ncorrelation:\n  type: event_count\n  rules: n\n  group-by: [user]\n  timespan: 5m\n  condition: {gte: 3}\n---\n\
title: f\nlogsource: {product: windows}\nfilter:\n  rules: any\n  f: {U: x}\n  condition: not f\n";

fn run(text: &str, record: &[u8]) {
    let collection = Collection::load([("f", text)], &|_| None);
    for format in [Format::Generic, Format::WindowsEvtx] {
        let engine = Engine::compile(&collection.rules, &Profile::new(format));
        if let Ok(view) = event::Parser::new().parse(record) {
            engine.matches(&view, &mut Scratch::default(), &mut Vec::new());
        }
    }
    for rejection in &collection.rejections {
        assert!(!rejection.message.is_empty() && !rejection.hint.is_empty() && rejection.line > 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_text(text in "\\PC{0,200}") {
        run(&text, text.as_bytes());
    }

    #[test]
    fn changed_rules(edits in prop::collection::vec((0..SEED.len(), 0..12_usize, "[-:|'\"\\[\\]{}#&*!%?a-z0-9 \n\\\\]{0,6}"), 1..6)) {
        let mut text = SEED.to_owned();
        for (at, cut, new) in edits {
            let at = at.min(text.len());
            let end = (at + cut).min(text.len());
            if text.is_char_boundary(at) && text.is_char_boundary(end) {
                text.replace_range(at..end, &new);
            }
        }
        run(&text, br#"{"A":"abc","B":"x -a /b ","Image":"c:\\cmd.exe","EventID":1}"#);
    }

    #[test]
    fn any_expression(source in "[-()\\[\\]{}|*+?.^$\\\\a-cd-fw-zA-C0-9,:=!<>i]{0,40}") {
        if let Ok(regexp) = Regexp::new(&source, RegexpFlags::default()) {
            let _found = regexp.found_in("abcabcabcabcabcabcabcabcabcabcabcabcabcabc");
        }
    }
}

#[test]
fn the_seed_loads() {
    let collection = Collection::load([("f", SEED)], &|_| None);
    assert_eq!(collection.rejections, []);
    assert_eq!((collection.rules.len(), collection.correlations.len(), collection.filters.len()), (1, 1, 1));
}
