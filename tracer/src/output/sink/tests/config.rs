//! Valid and invalid configurations of outputs.

use std::collections::BTreeSet;

use strum::VariantArray as _;

use super::super::*;

fn read(toml: &str) -> Result<SinkConfig, String> {
    toml::from_str(toml).map_err(|error| error.to_string())
}

#[track_caller]
fn refused(toml: &str, why: &str) {
    let error = read(toml).expect_err("invalid");
    assert!(error.contains(why), "{error}");
}

#[test]
fn a_type_is_enough() {
    let stdout = read("type = 'stdout'").expect("valid");
    assert_eq!(stdout, SinkConfig::new(Target::Stdout));
    assert_eq!(stdout.kinds, RecordKind::VARIANTS.iter().copied().collect());
    let syslog = read("type = 'syslog'").expect("valid");
    assert_eq!(syslog.name(), "syslog:unix:/dev/log");
    let otlp = read("type = 'otlp'").expect("valid");
    assert_eq!(otlp.name(), "otlp:http://127.0.0.1:4318");
    let grpc = read("type = 'otlp'\nprotocol = 'grpc'").expect("valid");
    assert_eq!(grpc.name(), "otlp:http://127.0.0.1:4317");
    let far = read("type = 'otlp'\nendpoint = 'https://collector.example/otlp/'").expect("valid");
    assert_eq!(far.name(), "otlp:https://collector.example/otlp");
}

#[test]
fn every_key_is_read() {
    let config = read(
        "type = 'file'\npath = '/tmp/x'\nkinds = ['close', 'time_wait']\nqueue = 10\n\
         rate_limit = { per_second = 5, burst = 9 }\n[filter]\nlocal_ports = [80]",
    )
    .expect("valid");
    assert_eq!(config.name(), "file:/tmp/x");
    assert_eq!(
        config.kinds,
        BTreeSet::from([RecordKind::Close, RecordKind::TimeWait])
    );
    assert_eq!(config.queue.get(), 10);
    let limit = config.rate_limit.expect("a limit");
    assert_eq!(limit.per_second.get(), 5);
    assert_eq!(limit.burst.map(u32::from), Some(9));
    assert_eq!(config.filter.local_ports, BTreeSet::from([80]));
}

#[test]
fn an_output_may_have_a_name() {
    let config = read("type = 'journald'\nname = 'leaks'").expect("valid");
    assert_eq!(config.name(), "leaks");
}

#[test]
fn a_wrong_configuration_is_refused_with_the_reason() {
    refused("", "missing field `type`");
    refused("type = 'kafka'", "unknown variant `kafka`");
    refused("type = 'file'", "needs a `path`");
    refused(
        "type = 'stdout'\npath = '/x'",
        "of type stdout has no `path`",
    );
    refused("type = 'stdout'\nkind = ['close']", "unknown field `kind`");
    refused("type = 'stdout'\nkinds = []", "name some in `kinds`");
    refused(
        "type = 'stdout'\nkinds = ['closes']",
        "unknown variant `closes`",
    );
    refused("type = 'stdout'\nqueue = 0", "nonzero");
    refused(
        "type = 'stdout'\nrate_limit = { per_second = 0 }",
        "nonzero",
    );
    refused(
        "type = 'stdout'\nfilter = { min_lifetime = '5 parsecs' }",
        "is not a duration; write it like",
    );
    refused(
        "type = 'syslog'\naddress = 'udp://host'",
        "write unix:/dev/log, udp://host:514",
    );
    refused("type = 'syslog'\naddress = 'unix:log'", "unix:/dev/log");
    refused(
        "type = 'syslog'\nsd_id = 'tcpclose'",
        "your enterprise number",
    );
    refused("type = 'syslog'\nmax_size = 100", "choose 480 to 65507");
    for endpoint in [
        "collector:4318",
        "ftp://collector",
        "http://",
        "http://a b",
        "http://h?x=y",
    ] {
        refused(
            &format!("type = 'otlp'\nendpoint = '{endpoint}'"),
            "is not an address of a collector; write it like \"http://127.0.0.1:4318\"",
        );
    }
    for path in ["/v1/logs", "/v1/metrics/", "/otlp/v1/logs"] {
        refused(
            &format!("type = 'otlp'\nendpoint = 'http://h:4318{path}'"),
            "leave out /v1/logs or /v1/metrics",
        );
    }
    refused(
        "type = 'otlp'\nca_file = '/etc/ca.pem'",
        "for an endpoint that begins with https://",
    );
    refused(
        "type = 'otlp'\nendpoint = 'https://h'\nca_file = 'ca.pem'",
        "a `ca_file` must begin with `/`",
    );
}

#[test]
fn an_output_of_type_http_needs_a_url_alone() {
    let http = read("type = 'http'\nurl = 'http://h:8123/in/?query=a b&c=%20'").expect("valid");
    assert_eq!(http.name(), "http:http://h:8123/in");
    let Target::Http(config) = &http.target else {
        panic!("{http:?}")
    };
    assert_eq!(config.url.uri(), "http://h:8123/in/?query=a%20b&c=%20");
    assert_eq!(config.compression, Compression::Gzip);
    assert_eq!(config.batch.0.get(), 5_000);
    let other = read("type = 'http'\nurl = 'http://h:8123/in/?query=d'").expect("valid");
    assert!(!http.target.is_same_destination(&other.target));
    for url in [
        "h:8123",
        "ftp://h",
        "http://",
        "http://h:0/",
        "http://h/#a",
        "http://h/a b",
    ] {
        refused(
            &format!("type = 'http'\nurl = '{url}'"),
            "not an address to post to",
        );
    }
    refused("type = 'http'", "an output of type http needs a `url`");
    refused(
        "type = 'http'\nurl = 'http://me:secret@h'",
        "a user and a password",
    );
    for (more, why) in [
        ("endpoint = 'http://h'", "of type http has no `endpoint`"),
        ("batch = 0", "1 to 65536 records"),
        ("batch_delay = '2m'", "\"60s\" at most"),
        ("timeout = '1m'", "\"100ms\" to \"12s\""),
        ("compression = 'zip'", "unknown variant `zip`"),
        ("ca_file = '/ca.pem'", "for a url that begins with https://"),
        (
            "headers = { content-length = '1' }",
            "itself sets the header `content-length`",
        ),
        ("headers = { a = \"b\\nc\" }", "not a valid HTTP header"),
        ("header_files = { a = 'b' }", "must begin with `/`"),
        (
            "header_files = { 'a b' = '/b' }",
            "not the name of an HTTP header",
        ),
    ] {
        refused(&format!("type = 'http'\nurl = 'http://h'\n{more}"), why);
    }
    refused(
        "type = 'stdout'\nheaders = { a = 'b' }",
        "belongs to type http or otlp",
    );
}

#[test]
fn addresses_of_receivers_are_read() {
    for address in [
        "unix:/dev/log",
        "udp://192.0.2.1:514",
        "tcp://[2001:db8::1]:601",
        "udp://logs.example:514",
    ] {
        let config = read(&format!("type = 'syslog'\naddress = '{address}'")).expect("an address");
        assert_eq!(config.name(), format!("syslog:{address}"));
    }
}

#[test]
fn the_example_in_the_docs_is_valid() {
    #[derive(serde::Deserialize)]
    struct Config {
        output: Vec<SinkConfig>,
    }
    let docs = include_str!("../../../../../docs/outputs.md");
    let after = docs.split("```toml\n").nth(1).expect("an example");
    let (example, _) = after.split_once("```").expect("its end");
    let config: Config = toml::from_str(example).unwrap_or_else(|error| panic!("{error}"));
    let names: Vec<String> = config.output.iter().map(SinkConfig::name).collect();
    assert_eq!(
        names,
        [
            "file:/var/log/tcpclose/records.jsonl",
            "journald",
            "syslog:tcp://192.0.2.1:601",
            "http:https://clickhouse.example:8443",
            "otlp:http://127.0.0.1:4317"
        ]
    );
}
