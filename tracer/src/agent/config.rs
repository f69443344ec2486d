//! The agent's configuration file: TOML, with every key optional.

mod error_text;
#[cfg(test)]
mod tests;
mod toml_span;

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};
use thiserror::Error;

use crate::filter::config::KernelFilter;
use crate::output::prometheus::fixed_series;
use crate::output::sink::{Kind, RateLimit, SinkConfig, Target};
use crate::toml_duration::duration;
use tcpclose_core::stuck::LEAST_STUCK_AFTER;
use tcpclose_sys::kernel::netns;

/// The default configuration, which explains every key. `--print-default-config` prints it.
pub const DEFAULT: &str = include_str!("config/default.toml");

/// The port for Prometheus. It is outside of 9100 to 9999, which Prometheus' list of exporters
/// assigns.
const PROMETHEUS_PORT: u16 = 19_433;

/// The configuration of the agent.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The time between two summaries.
    #[serde(deserialize_with = "interval")]
    pub interval: Duration,
    /// A socket that stays in CLOSE_WAIT for longer than this is reported as stuck.
    #[serde(deserialize_with = "stuck_after")]
    pub stuck_after: Duration,
    /// The largest number of live endpoints to keep.
    #[serde(deserialize_with = "count")]
    pub max_connections: NonZeroUsize,
    /// The directory for the locks of outputs without a file of their own.
    #[serde(deserialize_with = "absolute")]
    pub run_directory: PathBuf,
    /// Which connections are traced.
    pub trace: KernelFilter,
    /// The HTTP endpoint.
    pub prometheus: Prometheus,
    /// Where records go.
    #[serde(rename = "output")]
    pub outputs: Vec<SinkConfig>,
}

/// The HTTP endpoint with /metrics and /healthz.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Prometheus {
    /// Whether the agent has an HTTP endpoint.
    pub enabled: bool,
    /// The address to listen on.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    /// The largest number of series. Further ones are left out and counted.
    #[serde(deserialize_with = "count")]
    pub max_series: NonZeroUsize,
}

impl Default for Prometheus {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: (Ipv4Addr::LOCALHOST, PROMETHEUS_PORT).into(),
            max_series: NonZeroUsize::new(1_000).expect("not zero"),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        let quiet = SinkConfig {
            kinds: BTreeSet::from([Kind::Leak, Kind::Summary, Kind::Loss]),
            rate_limit: Some(RateLimit {
                per_second: NonZeroU32::new(100).expect("not zero"),
                burst: NonZeroU32::new(1_000),
            }),
            ..SinkConfig::new(Target::Stdout)
        };
        Self {
            interval: Duration::from_secs(60),
            stuck_after: Duration::from_secs(60),
            max_connections: NonZeroUsize::new(1 << 20).expect("not zero"),
            run_directory: "/run/tcpclose".into(),
            trace: KernelFilter::default(),
            prometheus: Prometheus::default(),
            outputs: vec![quiet],
        }
    }
}

/// Why a configuration is refused: one line, with the file name, the line and the column.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// The file cannot be read, or its content is invalid.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let text = fs::read_to_string(path)
            .map_err(|error| ConfigError(format!("{name} cannot be read: {error}")))?;
        Self::parse(&text, &name)
    }

    /// Parses the text of a file. Errors show `name` as the file's name.
    ///
    /// # Errors
    /// The content is invalid.
    pub fn parse(text: &str, name: &str) -> Result<Self, ConfigError> {
        let invalid = |at: usize, problem: &str| {
            let position = toml_span::line_and_column(text, at);
            ConfigError(format!("{name}:{position}: {problem}"))
        };
        let config: Self = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let at = toml_span::of_key(text, at, error.message());
            invalid(at, &error_text::plain(error.message()))
        })?;
        for (number, output) in config.outputs.iter().enumerate() {
            let before = config.outputs[..number].iter().enumerate();
            for (first, other) in before {
                if let Some(problem) = conflict(other, output) {
                    let first = toml_span::line_and_column(text, toml_span::of_output(text, first));
                    let problem = format!("the outputs here and at {first} {problem}");
                    return Err(invalid(toml_span::of_output(text, number), &problem));
                }
            }
        }
        let needed = fixed_series(config.outputs.len());
        if config.prometheus.enabled && config.prometheus.max_series.get() < needed {
            let at = toml_span::of_value(text, "prometheus", "max_series").unwrap_or(0);
            let problem = format!(
                "`max_series` must be at least {needed} with {} outputs: that many series always exist",
                config.outputs.len()
            );
            return Err(invalid(at, &problem));
        }
        Ok(config)
    }

    /// Checks that the destinations of all outputs can be used on this host.
    ///
    /// # Errors
    /// What is missing.
    pub fn check_destinations(&self) -> Result<(), ConfigError> {
        for output in &self.outputs {
            output.check_destination().map_err(|why| {
                ConfigError(format!("output {} cannot be used: {why}", output.name()))
            })?;
        }
        Ok(())
    }

    /// As [`Config::read`], and checks that the network namespace exists on this host.
    ///
    /// # Errors
    /// As [`Config::read`], or there is no such network namespace.
    pub fn read_for_this_host(path: &Path) -> Result<Self, ConfigError> {
        let config = Self::read(path)?;
        let Some(netns) = &config.trace.netns else {
            return Ok(config);
        };
        match netns::by_user(netns) {
            Err(error) => {
                let text = fs::read_to_string(path).unwrap_or_default();
                let at = toml_span::of_value(&text, "trace", "netns").unwrap_or(0);
                let position = toml_span::line_and_column(&text, at);
                Err(ConfigError(format!(
                    "{}:{position}: {error}",
                    path.display()
                )))
            }
            Ok(_) => Ok(config),
        }
    }
}

/// Returns why two outputs exclude each other: their lines would mix, or their counts could not be
/// told apart.
fn conflict(one: &SinkConfig, other: &SinkConfig) -> Option<String> {
    match (&one.target, &other.target) {
        (Target::Stdout, Target::Stdout) => {
            Some("both write to stdout: keep one of them".to_owned())
        }
        (Target::File(path), Target::File(other)) if canonical(path) == canonical(other) => {
            Some(format!("both write to {}: keep one of them", one.target))
        }
        _ if one.name() == other.name() => Some(format!(
            "are both called {}: keep one of them, or give one another `name`",
            one.name()
        )),
        _ => None,
    }
}

/// Returns the same path for all spellings of a file's path, if its directory exists.
fn canonical(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    let directory = path
        .parent()
        .and_then(|directory| directory.canonicalize().ok());
    match (fs::canonicalize(path), directory, path.file_name()) {
        (Ok(real), _, _) => real,
        (_, Some(directory), Some(name)) => directory.join(name),
        _ => plain,
    }
}

fn stuck_after<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let after = duration(deserializer)?;
    if after < LEAST_STUCK_AFTER {
        return Err(de::Error::custom(
            "every socket whose peer has closed would count as stuck: at least \"100ms\" is needed",
        ));
    }
    Ok(after)
}

fn interval<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let interval = duration(deserializer)?;
    if interval < Duration::from_secs(1) {
        return Err(de::Error::custom("an interval must be at least \"1s\""));
    }
    Ok(interval)
}

fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NonZeroUsize, D::Error> {
    let number = i64::deserialize(deserializer)?;
    let number = u32::try_from(number).ok();
    let number = number.and_then(|number| NonZeroUsize::new(number as usize));
    number.ok_or_else(|| de::Error::custom("a number from 1 to 4294967295 is needed here"))
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let address = String::deserialize(deserializer)?;
    address.parse().map_err(|_| {
        de::Error::custom(format!(
            "`{address}` is not an address with a port; write it like \"127.0.0.1:{PROMETHEUS_PORT}\""
        ))
    })
}

fn absolute<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    if !path.is_absolute() {
        return Err(de::Error::custom("a path must begin with `/`"));
    }
    Ok(path)
}
