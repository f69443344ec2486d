//! The agent's configuration file: TOML, with every key optional.

mod conflicts;
mod error_text;
mod file;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;
mod toml_position;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};
use thiserror::Error;

use crate::agent_socket::DEFAULT_RUN_DIRECTORY;
use crate::filter::config::KernelFilter;
use crate::output::json::JsonOptions;
use crate::output::prometheus::fixed_series;
use crate::output::sink::{RateLimit, RecordKind, SinkConfig, Target};
use crate::pair_key_source::PairKeySource;
use crate::sampling::Sampling;
use crate::toml_duration::duration;
use tcpclose_core::stuck::MIN_STUCK_AFTER;
use tcpclose_core::types::Port;
use tcpclose_sys::kernel::netns;

/// The default configuration, which explains every key. `--print-default-config` prints it.
pub const DEFAULT_CONFIG: &str = include_str!("default.toml");

/// The port for Prometheus. It is outside of 9100 to 9999, which Prometheus' list of exporters
/// assigns.
const PROMETHEUS_PORT: u16 = 19_433;

/// The most local ports whose connections are counted by state.
const MAX_LOCAL_PORTS: usize = 64;

/// The default nice value of the thread that reads the kernel's records.
pub const READER_NICE: i32 = -15;

/// What the flight recorder may have on disk.
const MIN_FLIGHT_SIZE: u64 = 4 << 20;
const MAX_FLIGHT_SIZE: u64 = 1 << 40;

/// The configuration of the agent.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The time between two summaries.
    #[serde(deserialize_with = "interval")]
    pub interval: Duration,
    /// A socket that is stuck in its state for longer than this is reported.
    #[serde(deserialize_with = "stuck_after")]
    pub stuck_after: Duration,
    /// The largest number of live endpoints to keep.
    #[serde(deserialize_with = "count")]
    pub max_connections: NonZeroUsize,
    /// The directory for the locks of outputs without a file of their own.
    #[serde(deserialize_with = "absolute")]
    pub run_directory: PathBuf,
    /// The file with what a restart must not forget: none where it is empty, and where it is not
    /// set, the one in systemd's `StateDirectory=`.
    #[serde(deserialize_with = "state_file")]
    pub state_file: Option<PathBuf>,
    /// The agent's last inputs on disk.
    pub flight_recorder: FlightConfig,
    /// The nice value of the thread that reads the kernel's records.
    #[serde(deserialize_with = "reader_nice")]
    pub reader_nice: i32,
    /// Whether commands on this host may ask the agent.
    pub answer_commands: bool,
    /// The key of the pair ids.
    pub pair_key: PairKeySource,
    /// The share of connections whose single records outputs get.
    #[serde(deserialize_with = "rate")]
    pub sample: f64,
    /// Whether there are rollups; where it is not set, if `sample` is less than 1.
    pub rollups: Option<bool>,
    /// Which connections are traced.
    pub trace: KernelFilter,
    /// The HTTP endpoint.
    pub prometheus: PrometheusConfig,
    /// Where records go.
    #[serde(rename = "output")]
    pub outputs: Vec<SinkConfig>,
}

/// The flight recorder: the agent's last inputs on disk.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlightConfig {
    /// Whether the agent has a flight recorder.
    pub enabled: bool,
    /// The directory of the segments; where it is not set, one in systemd's `StateDirectory=`.
    #[serde(deserialize_with = "some_absolute")]
    pub directory: Option<PathBuf>,
    /// The most bytes of all segments.
    #[serde(deserialize_with = "flight_size")]
    pub size: u64,
}

impl Default for FlightConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            directory: None,
            size: 256 << 20,
        }
    }
}

/// The HTTP endpoint with /metrics and /healthz.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PrometheusConfig {
    /// Whether the agent has an HTTP endpoint.
    pub enabled: bool,
    /// The address to listen on.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    /// The largest number of series. Further ones are left out and counted.
    #[serde(deserialize_with = "count")]
    pub max_series: NonZeroUsize,
    /// The local ports whose connections are counted by state.
    #[serde(deserialize_with = "local_ports")]
    pub local_ports: BTreeSet<Port>,
}

impl Default for PrometheusConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: (Ipv4Addr::LOCALHOST, PROMETHEUS_PORT).into(),
            max_series: NonZeroUsize::new(1_000).expect("not zero"),
            local_ports: BTreeSet::new(),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        let quiet = SinkConfig {
            kinds: BTreeSet::from([RecordKind::Stuck, RecordKind::Summary, RecordKind::Loss]),
            rate_limit: Some(RateLimit {
                per_second: NonZeroU32::new(100).expect("not zero"),
                burst: NonZeroU32::new(1_000),
            }),
            ..SinkConfig::new(Target::Journald)
        };
        Self {
            interval: Duration::from_secs(60),
            stuck_after: Duration::from_secs(60),
            max_connections: NonZeroUsize::new(1 << 20).expect("not zero"),
            run_directory: DEFAULT_RUN_DIRECTORY.into(),
            state_file: None,
            flight_recorder: FlightConfig::default(),
            reader_nice: READER_NICE,
            answer_commands: true,
            pair_key: PairKeySource::default(),
            sample: 1.0,
            rollups: None,
            trace: KernelFilter::default(),
            prometheus: PrometheusConfig::default(),
            outputs: vec![quiet],
        }
    }
}

impl Config {
    /// Returns the configuration of an agent that was started without a file, most likely by hand
    /// or in a container: as the default, but with JSON lines on stdout.
    #[must_use]
    pub fn without_file() -> Self {
        let mut config = Self::default();
        for output in &mut config.outputs {
            output.target = Target::Stdout;
        }
        config
    }

    /// Returns what all records of the agent have in common.
    ///
    /// # Errors
    /// The file with the pair key cannot be used.
    pub fn json_options(&self) -> anyhow::Result<JsonOptions> {
        let pair_key = self.pair_key.read()?;
        Ok(JsonOptions {
            pair_key,
            sampling: Sampling::new(self.sample, pair_key),
        })
    }

    /// Returns whether there are rollups.
    #[must_use]
    pub fn has_rollups(&self) -> bool {
        self.rollups.unwrap_or(self.sample < 1.0)
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
        Ok(Self::read_with_text(path)?.0)
    }

    fn read_with_text(path: &Path) -> Result<(Self, String), ConfigError> {
        let name = error_text::file_name(path);
        let text = file::read(path)
            .map_err(|error| ConfigError(format!("{name} cannot be read: {error}")))?;
        Ok((Self::parse(&text, &name)?, text))
    }

    /// Parses the text of a file. Errors show `name` as the file's name.
    ///
    /// # Errors
    /// The content is invalid.
    pub fn parse(text: &str, name: &str) -> Result<Self, ConfigError> {
        let invalid = |at: usize, problem: &str| {
            let position = toml_position::line_and_column(text, at);
            let problem = error_text::shown(problem);
            ConfigError(format!("{name}:{position}: {problem}"))
        };
        let config: Self = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let at = toml_position::key_position(text, at, error.message());
            invalid(at, &error_text::rewrite_message(error.message()))
        })?;
        if let Some(conflict) = conflicts::first_conflict(&config.outputs) {
            let position = |output| toml_position::output_position(text, output);
            let first = toml_position::line_and_column(text, position(conflict.first));
            let problem = format!("the outputs here and at {first} {}", conflict.problem);
            return Err(invalid(position(conflict.second), &problem));
        }
        let ports = config.prometheus.local_ports.len();
        let needed = fixed_series(config.outputs.len(), ports);
        if config.prometheus.enabled && config.prometheus.max_series.get() < needed {
            let at = toml_position::value_position(text, "prometheus", "max_series").unwrap_or(0);
            let ports = match ports {
                0 => String::new(),
                ports => format!(" and {ports} local ports"),
            };
            let problem = format!(
                "`max_series` must be at least {needed} with {} outputs{ports}: that many series \
                 always exist",
                config.outputs.len()
            );
            return Err(invalid(at, &problem));
        }
        Ok(config)
    }

    /// Checks that the pair key and the destinations of all outputs can be used on this host.
    ///
    /// # Errors
    /// What is missing.
    pub fn check_destinations(&self) -> Result<(), ConfigError> {
        self.pair_key
            .read()
            .map_err(|error| ConfigError(error_text::shown(&format!("{error:#}"))))?;
        for output in &self.outputs {
            output.check_destination().map_err(|why| {
                let problem = format!("output {} cannot be used: {why}", output.name());
                ConfigError(error_text::shown(&problem))
            })?;
        }
        Ok(())
    }

    /// As [`Config::read`], and checks that the network namespace exists on this host.
    ///
    /// # Errors
    /// As [`Config::read`], or there is no such network namespace.
    pub fn read_for_this_host(path: &Path) -> Result<Self, ConfigError> {
        let (config, text) = Self::read_with_text(path)?;
        let Some(netns) = &config.trace.netns else {
            return Ok(config);
        };
        match netns::by_spec(netns) {
            Err(error) => {
                let at = toml_position::value_position(&text, "trace", "netns").unwrap_or(0);
                let position = toml_position::line_and_column(&text, at);
                let problem = error_text::shown(&error.to_string());
                let name = error_text::file_name(path);
                Err(ConfigError(format!("{name}:{position}: {problem}")))
            }
            Ok(_) => Ok(config),
        }
    }
}

fn stuck_after<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let after = duration(deserializer)?;
    if after < MIN_STUCK_AFTER {
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

fn rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let rate = f64::deserialize(deserializer).ok();
    let rate = rate.filter(|rate| *rate > 0.0 && *rate <= 1.0);
    rate.ok_or_else(|| {
        de::Error::custom(
            "a share above 0 is needed here, at most 1: 0.01 keeps one connection of a hundred",
        )
    })
}

fn reader_nice<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
    let nice = i64::deserialize(deserializer)?;
    let nice = i32::try_from(nice)
        .ok()
        .filter(|nice| (-20..=0).contains(nice));
    nice.ok_or_else(|| de::Error::custom("a nice value from -20 to 0 is needed here"))
}

fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NonZeroUsize, D::Error> {
    let number = i64::deserialize(deserializer)?;
    let number = u32::try_from(number).ok();
    let number = number.and_then(|number| NonZeroUsize::new(number as usize));
    number.ok_or_else(|| de::Error::custom("a number from 1 to 4294967295 is needed here"))
}

fn local_ports<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<Port>, D::Error> {
    let numbers = Vec::<i64>::deserialize(deserializer)?;
    let ports: Option<BTreeSet<Port>> = numbers
        .into_iter()
        .map(|number| Port::new(u16::try_from(number).ok()?))
        .collect();
    let ports = ports.ok_or_else(|| de::Error::custom("a port is a number from 1 to 65535"))?;
    if ports.len() > MAX_LOCAL_PORTS {
        return Err(de::Error::custom(format!(
            "at most {MAX_LOCAL_PORTS} ports can be counted"
        )));
    }
    Ok(ports)
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let address = String::deserialize(deserializer)?;
    address.parse().map_err(|_| {
        de::Error::custom(format!(
            "`{address}` is not an address with a port; write it like \"127.0.0.1:{PROMETHEUS_PORT}\""
        ))
    })
}

fn state_file<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    if !path.is_absolute() && !path.as_os_str().is_empty() {
        return Err(de::Error::custom(
            "a path must begin with `/`, or be empty for no file",
        ));
    }
    Ok(Some(path))
}

fn absolute<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    if !path.is_absolute() {
        return Err(de::Error::custom("a path must begin with `/`"));
    }
    Ok(path)
}

fn some_absolute<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    absolute(deserializer).map(Some)
}

fn flight_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    let units = [("MiB", 20), ("GiB", 30)];
    let size = units.into_iter().find_map(|(unit, bits)| {
        let number: u64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
        number.checked_mul(1 << bits)
    });
    let size = size.filter(|size| (MIN_FLIGHT_SIZE..=MAX_FLIGHT_SIZE).contains(size));
    size.ok_or_else(|| {
        de::Error::custom("a size from \"4MiB\" to \"1024GiB\" is needed here, such as \"256MiB\"")
    })
}
