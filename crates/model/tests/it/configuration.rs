//! What may not stand in the configuration, and what is said of it.

use crate::fake::open;

fn section(base_url: &str, more: &str) -> String {
    format!("kind = \"openai\"\nmodel = \"m\"\nbase_url = \"{base_url}\"\n{more}\n")
}

#[test]
fn faults_name_their_key_and_what_would_be_right() {
    const HERE: &str = "http://127.0.0.1:8080/v1";
    for (alias, text, wanted) in [
        ("Default", section(HERE, ""), "`models.Default` is no alias"),
        ("a", section("ftp://x", ""), "`models.a.base_url` is `ftp://x`"),
        ("a", section("http://api.example.com/v1", ""), "plain `http` to another machine"),
        ("a", section("http://10.0.0.7/v1", ""), "plain `http` to another machine"),
        ("a", section("https://user:pw@api.example.com/v1", ""), "has a user"),
        ("a", section("https://api.example.com/v1?key=1", ""), "a query"),
        ("a", section(HERE, "fallback = [\"b\"]"), "`models.a.fallback` names `b`"),
        ("a", section(HERE, "fallback = [\"a\"]"), "names `a`, which is no other alias"),
        ("a", section(HERE, "tries = 0"), "`models.a.tries` is not between 1 and 20"),
        ("a", section(HERE, "max_concurrency = 0"), "max_concurrency"),
        ("a", section(HERE, "temperature = 3.0"), "temperature"),
        ("a", section(HERE, "timeouts = { idle_secs = 0 }"), "`models.a.timeouts.idle_secs` is not between 1 and 600"),
        ("a", section(HERE, "api_key_env = \"NONE\""), "`models.a.api_key_env` names `NONE`, which is not set"),
        ("a", section(HERE, "api_key_env = \"KEY\"\napi_key_file = \"f\""), "stands beside"),
        ("a", section(HERE, "tools = \"schema\"").replace("openai", "anthropic"), "`models.a.tools` is `schema`"),
    ] {
        let error = open(&[(alias, text)]).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn unknown_keys_are_errors() {
    let read = |more: &str| toml::from_str::<model::Section>(&section("http://localhost/v1", more));
    assert!(read("").is_ok());
    for more in ["api_key = \"sk-1\"", "prices = { input = 1 }", "timeouts = { total_secs = 1 }", "tools = \"magic\""] {
        assert!(read(more).is_err(), "{more}");
    }
}

#[test]
fn this_machine_needs_no_word_and_a_private_network_does() {
    for base in ["http://127.0.0.1:8080/v1", "http://localhost:11434/v1", "http://[::1]:1/v1"] {
        assert!(open(&[("a", section(base, ""))]).is_ok(), "{base}");
    }
    assert!(open(&[("a", section("http://10.0.0.7:8000/v1", "private_addresses = true"))]).is_ok());
}
