//! Rules for elsewhere: what is exported means the same, and what cannot be said is refused by name.

use detection::export::{SigmaExportError, SqlCaveat, SqlError, sigma, sql};
use detection::profile::{Format, Profile};
use detection::sigma::Collection;

fn exported(detection: &str) -> Result<(String, Vec<SqlCaveat>), SqlError> {
    let text = format!(
        "title: t\nid: r\nlogsource: {{product: windows, category: process_creation}}\ndetection: {{{detection}}}\n"
    );
    let collection = Collection::load([("f", text.as_str())], &|_| None);
    assert_eq!(collection.rejections, [], "{detection}");
    let export = sql(&collection.rules[0], &Profile::new(Format::WindowsFlat))?;
    let (_, condition) = export.sql.split_once("log_part = 0 AND ").unwrap();
    let gate = "(equals_fold(json_text(raw, 'Channel'), 'Microsoft-Windows-Sysmon/Operational') AND json_text(raw, 'EventID') = '1' AND ";
    Ok((condition.strip_prefix(gate).unwrap().strip_suffix(')').unwrap().to_owned(), export.caveats))
}

#[test]
fn conditions_in_sql() {
    let f = "json_text(raw, 'F')";
    for (detection, condition) in [
        ("s: {F: It's}, condition: s", format!("equals_fold({f}, 'It''s')")),
        ("s: {F|cased: Ab}, condition: s", format!("{f} = 'Ab'")),
        ("s: {F|contains: x_y}, condition: s", format!("contains_fold({f}, 'x_y')")),
        (r"s: {F|endswith: '\a_%.exe'}, condition: s", format!(r"{f} ILIKE '%\\a\_\%.exe' ESCAPE '\'")),
        ("s: {F: 'a?b*'}, condition: s", format!(r"{f} ILIKE 'a_b%' ESCAPE '\'")),
        ("s: {F|contains: äÖ}, condition: s", format!("regexp_like({f}, '(?is)äö')")),
        ("s: {F|windash|contains: ' -f'}, condition: s", format!("regexp_like({f}, '(?is) [-/–—―]f')")),
        ("s: {F: [A, b, 5]}, condition: s", format!("({f} = '5' OR lower({f}) IN ('a', 'b'))")),
        (r"s: {F|endswith: ['\a.exe', B]}, condition: s", format!(r"regexp_like({f}, '(?is)\\a\.exe\z|b\z')")),
        ("s: {F|contains|all: [a, b]}, condition: s", format!("contains_fold({f}, 'a') AND contains_fold({f}, 'b')")),
        (
            "s: {F: x}, t: {G: y}, condition: s and not t",
            format!("equals_fold({f}, 'x') AND (equals_fold(json_text(raw, 'G'), 'y')) IS NOT TRUE"),
        ),
        ("s: {F: null}, condition: s", format!("{f} IS NULL")),
        ("s: {F|exists: true}, condition: s", format!("{f} IS NOT NULL")),
        ("s: {F|lt: 5}, condition: s", format!("try_cast({f} AS DOUBLE) < 5")),
        ("s: {F|re|i: 'a.b'}, condition: s", format!("regexp_like({f}, '(?i)a.b')")),
        ("s: {F|fieldref: G}, condition: s", format!("lower({f}) = lower(json_text(raw, 'G'))")),
        ("s: {F|expand: '%x%'}, condition: s", "false".to_owned()),
    ] {
        let (given, _) = exported(detection).unwrap();
        // The parts of a conjunction stand beside the gate.
        let given = given
            .strip_prefix('(')
            .and_then(|inner| inner.strip_suffix(')'))
            .filter(|_| condition.contains(" AND "))
            .map_or(given.clone(), str::to_owned);
        assert_eq!(given, condition, "{detection}");
    }
    let (_, caveats) = exported("s: {F|exists: true}, condition: s").unwrap();
    assert_eq!(caveats, [SqlCaveat::Lists, SqlCaveat::NullIsAbsent]);
}

#[test]
fn what_sql_cannot_say_is_refused_by_name() {
    for (detection, error) in [
        ("s: [word], condition: s", SqlError::Keyword),
        ("s: {F|cidr: 10.0.0.0/8}, condition: s", SqlError::Network("F".into())),
        ("s: {F|hour: 3}, condition: s", SqlError::TimePart("F".into())),
        ("s: {F|re: 'a(?!b)'}, condition: s", SqlError::Backtracking("F".into())),
    ] {
        assert_eq!(exported(detection), Err(error), "{detection}");
    }
    let many: String = (0..250).map(|n| format!("F{n}: x, ")).collect();
    let error = exported(&format!("s: {{{many}}}, condition: s")).unwrap_err();
    assert!(matches!(error, SqlError::TooLong { what: "operators", .. }), "{error}");
    let linux = "title: t\nid: r\nlogsource: {product: linux}\ndetection: {s: {F: x}, condition: s}\n";
    let collection = Collection::load([("f", linux)], &|_| None);
    let error = sql(&collection.rules[0], &Profile::new(Format::WindowsFlat)).unwrap_err();
    assert_eq!(error, SqlError::OtherFormat("another product"));
}

#[test]
fn sigma_in_its_own_order() {
    let text = "id: r\nrespond: [isolate]\nlevel: low\ntitle: 'yes'\ndate: 2024-01-31\ndescription: |\n  one\n  two\nlogsource: {product: windows}\n\
                tags: [attack.t1059]\ndetection: {s: [{A: ['x: y', 'on', 5, '5', null, true]}, {'B|re': \"a\\tb'c\"}], condition: s}\n";
    let export = sigma(text).unwrap();
    let wanted = "title: 'yes'\nid: r\ndescription: |\n    one\n    two\ndate: 2024-01-31\ntags:\n    - attack.t1059\nlogsource:\n    product: windows\n\
                  detection:\n    s:\n        -   A:\n                - 'x: y'\n                - 'on'\n                - 5\n                - '5'\n                - null\n                - true\n        -   B|re: \"a\\tb'c\"\n    condition: s\nlevel: low\n";
    assert_eq!(export.yaml, wanted);
    assert_eq!(export.left_out, ["respond"]);
    let learns = "title: n\nid: c\ncorrelation: {type: first_seen, rules: [r], condition: {field: a}}\n";
    assert_eq!(sigma(learns), Err(SigmaExportError::OwnType("n".into())));
    assert!(matches!(sigma("title: x\n"), Err(SigmaExportError::Rejected(_))));
    assert_eq!(sigma(""), Err(SigmaExportError::Empty));
}

#[test]
fn every_rule_there_is_survives() {
    let mut files = Vec::new();
    crate::sigmahq::files_with(
        &std::path::Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../../content/rules"),
        "yml",
        &mut files,
    );
    assert!(!files.is_empty());
    if let Some(data) = crate::test_data() {
        crate::sigmahq::files_with(&data.join("sigma/rules"), "yml", &mut files);
    }
    let (mut count, mut in_sql, mut wrong) = (0, 0, Vec::new());
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        let collection = Collection::load([("f", text.as_str())], &|_| None);
        if !collection.rejections.is_empty() || collection.correlations.iter().any(|one| one.kind.learns()) {
            continue;
        }
        count += 1;
        if let Err(error) = sigma(&text) {
            wrong.push(format!("{}: {error}", file.display()));
        }
        let flat = Profile::new(Format::WindowsFlat);
        in_sql += collection.rules.iter().filter(|rule| sql(rule, &flat).is_ok()).count();
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    eprintln!("{count} files, {in_sql} rules in SQL for flat Windows records");
}
