//! The configuration, from the command line. No rights are needed.

use std::process::Output;

use crate::program::agent;
use tcpclose_kit::TestResult;
use tcpclose_kit::scratch::Scratch;

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

fn checked(config: &str) -> std::io::Result<Output> {
    let scratch = Scratch::new();
    let file = scratch.write("agent.toml", config)?;
    agent()
        .arg("--check-config")
        .arg("--config")
        .arg(file)
        .output()
}

#[test]
fn the_printed_configuration_can_be_used() -> TestResult {
    let printed = agent().arg("--print-default-config").output()?;
    assert!(printed.status.success());
    let messages = checked(text(&printed.stdout))?;
    assert_eq!(messages.status.code(), Some(0));
    assert_eq!(text(&messages.stdout), "the configuration is valid\n");
    Ok(())
}

#[test]
fn an_error_is_one_line_on_stderr_with_exit_code_2() -> TestResult {
    let messages = checked("[prometheus]\nlisten = 9433\n")?;
    assert_eq!(messages.status.code(), Some(2));
    let stderr = text(&messages.stderr);
    assert!(
        stderr.starts_with("tcpclose: ") && stderr.contains("agent.toml:2:10: "),
        "{stderr}"
    );
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(messages.stdout.is_empty());
    Ok(())
}

#[test]
fn a_file_that_is_not_there_is_named() -> TestResult {
    let messages = agent().args(["--config", "/no/such/file.toml"]).output()?;
    assert_eq!(messages.status.code(), Some(2));
    let expected =
        "tcpclose: /no/such/file.toml cannot be read: No such file or directory (os error 2)\n";
    assert_eq!(text(&messages.stderr), expected);
    Ok(())
}

#[test]
fn doctor_lists_the_kept_capabilities_with_reasons() -> TestResult {
    let messages = std::process::Command::new(env!("CARGO_BIN_EXE_tcpclose"))
        .args(["doctor", "--agent"])
        .output()?;
    let stdout = text(&messages.stdout);
    let (kept, given_up) = stdout.split_once("gives up").ok_or("both lists")?;
    for name in ["CAP_DAC_READ_SEARCH", "CAP_SYS_PTRACE", "CAP_SYS_ADMIN"] {
        assert!(kept.contains(name), "{stdout}");
    }
    for name in ["CAP_PERFMON", "CAP_NET_ADMIN", "CAP_SYS_RESOURCE"] {
        assert!(given_up.contains(name), "{stdout}");
    }
    let lacks = stdout.contains("this process lacks");
    assert_eq!(messages.status.code(), Some(if lacks { 2 } else { 0 }));
    Ok(())
}

#[test]
fn what_an_output_needs_is_checked() -> TestResult {
    for (output, missing) in [
        (
            "type = 'file'\npath = '/no/such/place/x.jsonl'",
            "output file:/no/such/place/x.jsonl cannot be used: there is no directory /no/such/place; create it",
        ),
        (
            "type = 'otlp'\nendpoint = 'https://h:1'\nca_file = '/no/such.pem'",
            "cannot be used: ca_file /no/such.pem: ",
        ),
        (
            "type = 'otlp'\nendpoint = 'https://h:1'\nca_file = '/etc/passwd'",
            "cannot be used: ca_file /etc/passwd has no certificate in PEM",
        ),
        (
            "type = 'http'\nurl = 'https://h:1'\nheader_files = { a = '/no/such/token' }",
            "output http:https://h:1 cannot be used: header_files /no/such/token: ",
        ),
        (
            "type = 'file'\npath = '/tmp'",
            "output file:/tmp cannot be used: it is not a regular file",
        ),
    ] {
        let messages = checked(&format!("[[output]]\n{output}\n"))?;
        assert_eq!(messages.status.code(), Some(2), "{output}");
        let stderr = text(&messages.stderr);
        assert!(stderr.contains(missing), "{stderr}");
    }
    Ok(())
}
