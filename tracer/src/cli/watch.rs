//! `tcpclose watch`.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::num::NonZeroU64;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use super::filters::Filters;
use crate::host::cgroup::Cgroups;
use crate::kernel::loader::{Options, Tier};
use crate::lifecycle::finding::{Finding, Loss, LossPlace};
use crate::output::clock::WallClock;
use crate::output::table::{STATES_HELP, loss_message};
use crate::output::writer::{self, DEFAULT_CAPACITY, Line, Writer, WriterEnd};
use crate::session::{RawTransition, Session, now};

/// Live connection ends kept at most: 1,048,576, each some 200 bytes. The one quiet for longest makes room.
const CAPACITY: usize = 1 << 20;

/// How long the last lines may take when whoever reads them does not.
const FLUSH_DEADLINE: Duration = Duration::from_secs(2);

const AFTER_HELP: &str = "\
Examples:
  tcpclose watch                      every close on this host
  tcpclose watch -L 3306,5432         only connections of these local ports
  tcpclose watch --format json        one JSON object a line

Exit codes: 0 fine (also after Ctrl-C, and when the reader of a pipe has gone), 2 could not run or bad usage";

/// How lines are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Columns for people
    Table,
    /// One JSON object a line
    Json,
}

/// What `tcpclose watch` takes.
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP, after_long_help = format!("{STATES_HELP}\n\n{AFTER_HELP}"))]
pub(super) struct Args {
    #[command(flatten)]
    filters: Filters,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Stop after N lines
    #[arg(long, value_name = "N")]
    count: Option<NonZeroU64>,
    /// Stop after this long, such as 30s or 5m
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// Say which connections are in CLOSE_WAIT for this long, and when they are no more
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = stuck_after)]
    stuck_after: Duration,
    /// Print each raw state transition, as bcc's tcpstates does
    #[arg(long)]
    transitions: bool,
    /// Use the classic tracepoint even where the kernel has BTF (tells less)
    #[arg(long)]
    no_btf: bool,
    /// Let the eBPF programs say on stderr which transitions they leave out
    #[arg(short, long)]
    verbose: bool,
}

/// Every connection that its peer closes first is in CLOSE_WAIT for a moment: looking at all of them would be too much.
const LEAST_STUCK_AFTER: Duration = Duration::from_millis(100);

fn stuck_after(words: &str) -> Result<Duration, String> {
    match humantime::parse_duration(words) {
        Ok(after) if after < LEAST_STUCK_AFTER => Err("it must be at least 100ms".into()),
        Ok(after) => Ok(after),
        Err(error) => Err(error.to_string()),
    }
}

impl Args {
    fn options(&self) -> anyhow::Result<Options> {
        let netns = self.filters.namespace()?;
        Ok(Options {
            netns: netns.map(|handle| handle.id()),
            local_ports: self.filters.local_ports(),
            peer_ports: self.filters.peer_ports(),
            ip: self.filters.ip(),
            every_transition: self.transitions,
            classic: self.no_btf,
            verbose: self.verbose,
            stuck_after: (!self.transitions).then_some(self.stuck_after.into()),
            ..Options::default()
        })
    }

    /// Whether a finding is of a process that was asked for.
    fn wants(&self, finding: &Finding) -> bool {
        let owner = match finding {
            Finding::Close(close) => &close.owner,
            Finding::TimeWait(time_wait) => &time_wait.owner,
            Finding::Leak(stuck) => {
                let holds = |pid| stuck.holders.iter().any(|holder| holder.pid == pid);
                if self.filters.pids.iter().any(|&pid| holds(pid)) {
                    return true;
                }
                &stuck.owner
            }
            Finding::Loss(_) | Finding::Summary(_) => return true,
        };
        self.filters.pids.is_empty()
            || owner
                .as_ref()
                .is_some_and(|owner| self.filters.pids.contains(&owner.pid))
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let options = args.options()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the event loop failed")?;
    runtime.block_on(watch(args, &options))
}

async fn watch(args: &Args, options: &Options) -> anyhow::Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut session = Session::start(options, CAPACITY)?;
    announce(&session);

    for pid in &args.filters.pids {
        if !Path::new("/proc").join(pid.to_string()).exists() {
            eprintln!(
                "tcpclose: there is no process {pid} now; its connections are shown if one with that number starts"
            );
        }
    }
    let mut printer = Printer::new(args)?;
    // A time beyond the clock's range is never.
    let stop_at = args
        .duration
        .and_then(|duration| Instant::now().checked_add(duration));
    let stop = async {
        match stop_at {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(stop);
    while !printer.is_done() {
        tokio::select! {
            ready = session.wait() => ready.context("polling the ring buffer failed")?,
            end = printer.writer.closed() => return ended(end),
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            () = &mut stop => break,
        }
        printer.pump(&mut session)?;
    }
    // What happened up to now is told, also what waited for its cause.
    tokio::time::sleep(Duration::from_millis(25)).await;
    printer.pump(&mut session)?;
    printer.finish(&session)
}

/// The one thing that goes wrong with a writer and is fine: nobody reads any more.
fn ended(end: WriterEnd) -> anyhow::Result<ExitCode> {
    match end {
        WriterEnd::PipeClosed => Ok(ExitCode::SUCCESS),
        WriterEnd::Failed(error) => Err(error).context("writing to stdout failed"),
    }
}

fn announce(session: &Session) {
    let tier = match session.tier {
        Tier::Btf => "every transition with the socket's own evidence",
        Tier::Classic => {
            "the classic tracepoint only: no paths in doubt, no byte counts (see `tcpclose doctor`)"
        }
    };
    eprintln!("tcpclose: watching; {tier}; Ctrl-C ends it");
    for why in &session.unseen {
        eprintln!(
            "tcpclose: connections that are open already are not seen where this failed: {why}"
        );
    }
    for (tracepoint, why) in &session.missing {
        eprintln!(
            "tcpclose: tracepoint {tracepoint} could not be attached, so causes may be missing: {why}"
        );
    }
}

/// Takes from the session and gives to the writer.
struct Printer<'a> {
    args: &'a Args,
    writer: Writer,
    left: u64,
}

impl<'a> Printer<'a> {
    fn new(args: &'a Args) -> anyhow::Result<Self> {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        let format = match (args.format, args.transitions) {
            (Format::Json, _) => writer::Format::Json,
            (Format::Table, true) => writer::Format::TransitionTable,
            (Format::Table, false) => writer::Format::Table,
        };
        let options = writer::Options {
            clock: WallClock::new(),
            cgroups: Box::new(Cgroups::new()),
            width: if terminal { terminal_width() } else { None },
            colours: terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            capacity: DEFAULT_CAPACITY,
        };
        // Past std's own buffer, whose lines would count as written.
        let out = File::from(
            stdout
                .as_fd()
                .try_clone_to_owned()
                .context("stdout cannot be used")?,
        );
        let writer = Writer::start(format, options, out).context("starting the writer failed")?;
        Ok(Self {
            args,
            writer,
            left: args.count.map_or(u64::MAX, NonZeroU64::get),
        })
    }

    fn is_done(&self) -> bool {
        self.left == 0
    }

    fn pump(&mut self, session: &mut Session) -> anyhow::Result<()> {
        let (args, writer, left) = (self.args, &mut self.writer, &mut self.left);
        let raw = |raw: &RawTransition<'_>| {
            let wanted = args.filters.pids.is_empty()
                || raw
                    .transition
                    .task
                    .is_some_and(|task| args.filters.pids.contains(&task.pid));
            if args.transitions && wanted && *left > 0 {
                *left -= 1;
                writer.send(Line::Transition(Box::new(writer::RawTransition {
                    transition: *raw.transition,
                    in_old: raw.dwell,
                })));
            }
        };
        session
            .pump(raw)
            .context("reading the kernel's records failed")?;
        while let Some(finding) = session.next_finding() {
            if let Finding::Loss(loss) = &finding {
                self.lost(loss, &finding);
            } else if !self.args.transitions && self.left > 0 && self.args.wants(&finding) {
                self.left -= 1;
                self.writer.send(Line::Finding(finding));
            }
        }
        let lost = self.writer.take_dropped();
        if lost > 0 {
            let loss = Loss {
                at: now(),
                lost,
                place: LossPlace::Output,
                repaired: false,
            };
            self.lost(&loss, &Finding::Loss(loss));
        }
        Ok(())
    }

    /// A loss is data for programs, and a warning for people.
    fn lost(&mut self, loss: &Loss, finding: &Finding) {
        eprintln!("tcpclose: {}", loss_message(loss));
        if self.args.format == Format::Json {
            self.writer.send(Line::Finding(finding.clone()));
        }
    }

    fn finish(self, session: &Session) -> anyhow::Result<ExitCode> {
        let waiting = session.waiting_for_fin();
        if waiting > 0 && !self.args.transitions {
            eprintln!("tcpclose: not shown, as still waiting for the peer's FIN: {waiting} closed");
        }
        let unwritten = self.writer.finish(FLUSH_DEADLINE);
        match unwritten {
            Ok(0) => Ok(ExitCode::SUCCESS),
            Ok(lost) => {
                let loss = Loss {
                    at: now(),
                    lost,
                    place: LossPlace::Output,
                    repaired: false,
                };
                eprintln!("tcpclose: {}", loss_message(&loss));
                Ok(ExitCode::SUCCESS)
            }
            Err(end) => ended(end),
        }
    }
}

/// Columns of the terminal on stdout.
fn terminal_width() -> Option<u16> {
    // SAFETY: a valid struct for the length of the call, which fills it or fails.
    unsafe {
        let mut size: libc::winsize = std::mem::zeroed();
        let told = libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) == 0;
        (told && size.ws_col > 0).then_some(size.ws_col)
    }
}
