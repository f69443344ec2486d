//! The short form: ratios and counts that do not depend on the machine's speed, compared with the
//! kept ones.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail, ensure};
use object::{File, Object as _, ObjectSection as _, ObjectSymbol as _, SymbolKind};
use serde_json::Value;

use super::{baseline::Baseline, core, kernel_cost, root::run_as_root};
use crate::{
    command::{announce, find_program, stdout_of},
    ebpf::EbpfObject,
    privilege::Privilege,
    workspace::Workspace,
};

/// The kept numbers.
const BASELINE: &str = "testing/bench/kept/baseline.json";
/// A churn, of which instructions are counted.
const RECORDING: &str = "testing/bench/kept/churn.rec";
/// What tcpstates costs is mostly its wake-ups, and these depend on the machine: with programs of
/// tcpclose that take 280 to 320 ns a transition, the ratio was 54 to 65 where tcpstates took 17
/// µs, 31 to 34 where it took 9 µs, and 6 to 8 where it took 2.3 µs. So this finds gross faults
/// alone, and the counts of instructions find a fifth anywhere.
const MIN_RATIO: f64 = 5.0;
const ROUNDS: usize = 3;
/// Bytes of the program with all that is in it by default.
const MAX_PROGRAM_SIZE: u64 = 12_000_000;

/// What the short form is about.
pub struct Check<'a> {
    /// The checkout.
    pub workspace: &'a Workspace,
    /// The program.
    pub program: &'a Path,
    /// What cannot be measured is an error, not left out.
    pub required: bool,
}

/// What is measured, and what is wrong whatever was kept.
#[derive(Default)]
struct Measured {
    numbers: BTreeMap<String, f64>,
    wrong: Vec<String>,
}

impl Check<'_> {
    /// Measures and compares. Reports what is worse, and returns whether nothing is.
    pub fn compare(&self) -> Result<bool> {
        let (now, mut wrong) = self.measure()?;
        let kept = Baseline::read(&self.workspace.root.join(BASELINE))?;
        wrong.extend(kept.compare(&now));
        if self.required {
            wrong.extend(kept.missing(&now));
        }
        for wrong in &wrong {
            announce(format_args!("bench: {wrong}"));
        }
        if wrong.is_empty() {
            announce("bench: nothing is a fifth worse than kept, and the demands are met");
        } else {
            announce(format_args!(
                "bench: if that is meant, `cargo xtask bench --check --keep` writes {BASELINE} anew"
            ));
        }
        Ok(wrong.is_empty())
    }

    /// Measures and keeps, with a new recording where there is none.
    pub fn keep(&self) -> Result<()> {
        let recording = self.workspace.root.join(RECORDING);
        if !recording.exists() {
            run_as_root(self.workspace, self.program, |again| {
                again.arg("--only=e").arg("--recording").arg(&recording);
            })?;
        }
        let (now, wrong) = self.measure()?;
        for wrong in wrong {
            announce(format_args!("bench: kept all the same: {wrong}"));
        }
        now.write(&self.workspace.root.join(BASELINE))?;
        announce(format_args!("bench: kept in {BASELINE}"));
        Ok(())
    }

    fn measure(&self) -> Result<(Baseline, Vec<String>)> {
        let mut measured = Measured::default();
        self.or_skip(&mut measured, "kernel cost", Self::kernel_cost)?;
        self.or_skip(&mut measured, "size of the eBPF programs", Self::ebpf_size)?;
        self.or_skip(&mut measured, "size of the program", Self::program_size)?;
        self.or_skip(&mut measured, "instructions", Self::instructions)?;
        self.memory(&mut measured)?;
        for (what, value) in &measured.numbers {
            announce(format_args!("bench: {what}: {value:.1}"));
        }
        let baseline = Baseline {
            rustc: version_of("rustc"),
            valgrind: version_of("valgrind"),
            numbers: measured.numbers,
        };
        Ok((baseline, measured.wrong))
    }

    /// What cannot be measured here is reported, and an error only where all is `required`.
    fn or_skip(
        &self,
        measured: &mut Measured,
        what: &str,
        measure: impl Fn(&Self, &mut Measured) -> Result<Option<String>>,
    ) -> Result<()> {
        match measure(self, measured)? {
            None => Ok(()),
            Some(why) if self.required => bail!("{what} cannot be measured: {why}"),
            Some(why) => {
                announce(format_args!("bench: skipping {what}: {why}"));
                Ok(())
            }
        }
    }

    /// Measures a. Returns why it could not.
    fn kernel_cost(&self, measured: &mut Measured) -> Result<Option<String>> {
        if !Privilege::detect().can_start_programs() {
            return Ok(Some("that needs root".into()));
        }
        if find_program("tcpstates").is_none() {
            return Ok(Some("there is no tcpstates (package libbpf-tools)".into()));
        }
        if !Path::new(super::testbed::BPF_STATS).exists() {
            return Ok(Some("this kernel counts no run times of programs".into()));
        }
        let rows = run_as_root(self.workspace, self.program, |again| {
            again.args(["--only=a", "--short", &format!("--rounds={ROUNDS}")]);
        })?;
        let ratio = rows.iter().find(|row| row.what == kernel_cost::RATIO);
        let ratio = ratio.context("the ratio was not measured")?.median();
        announce(format_args!("bench: tcpstates / tcpclose: {ratio:.1}"));
        if !ratio.is_finite() || ratio < MIN_RATIO {
            measured.wrong.push(format!(
                "a transition costs tcpstates {ratio:.1} times what it costs tcpclose, and it was at least {MIN_RATIO}"
            ));
        }
        Ok(None)
    }

    /// Counts the instructions of the eBPF programs. Returns why it could not.
    fn ebpf_size(&self, measured: &mut Measured) -> Result<Option<String>> {
        let object = EbpfObject::provide(self.workspace)?;
        let path = object.path();
        let object = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        for (program, instructions) in program_sizes(&object)? {
            let what = format!("instructions in the eBPF program {program}");
            measured.numbers.insert(what, instructions);
        }
        Ok(None)
    }

    /// The part of g that does not depend on the machine's speed. Returns why it could not be
    /// measured.
    fn program_size(&self, measured: &mut Measured) -> Result<Option<String>> {
        let bytes = fs::metadata(self.program)?.len();
        if bytes >= MAX_PROGRAM_SIZE {
            measured.wrong.push(format!(
                "the program has {bytes} bytes, and less than {MAX_PROGRAM_SIZE} are demanded"
            ));
        }
        let what = "bytes of the program";
        measured.numbers.insert(what.into(), bytes as f64);
        Ok(None)
    }

    /// Measures e. Returns why it could not.
    fn instructions(&self, measured: &mut Measured) -> Result<Option<String>> {
        let Some(valgrind) = find_program("valgrind") else {
            return Ok(Some("there is no valgrind".into()));
        };
        let bench = core::built(self.workspace, "instructions")?;
        for (function, what, of) in [
            (
                "decode_and_track",
                "instructions to decode and track a transition",
                "transitions",
            ),
            (
                "write_json",
                "instructions to write a finding as JSON",
                "findings",
            ),
        ] {
            let (count, stream) = self.count(&valgrind, &bench, function)?;
            let all = stream[of].as_f64();
            let all = all.context("the bench's output is not as expected")?;
            measured.numbers.insert(what.into(), count / all);
        }
        Ok(None)
    }

    /// Instructions of one function, and what the bench reports that it worked on.
    fn count(&self, valgrind: &Path, bench: &Path, function: &str) -> Result<(f64, Value)> {
        let log = self.workspace.target.join("bench/callgrind.log");
        let output = stdout_of(
            Command::new(valgrind)
                .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
                .arg(format!("--toggle-collect=instructions::{function}"))
                .arg(format!("--log-file={}", log.display()))
                .arg(bench)
                .env("TCPCLOSE_RECORDING", self.workspace.root.join(RECORDING)),
        )?;
        let log = fs::read_to_string(&log).context("valgrind has left no log")?;
        let count = collected(&log).filter(|count| *count > 0.0);
        let count = count.with_context(|| {
            format!("valgrind has not counted {function}: does the bench have it?")
        })?;
        Ok((count, serde_json::from_str(&output)?))
    }

    /// Measures f.
    fn memory(&self, measured: &mut Measured) -> Result<()> {
        let sizes = core::live_endpoints(&core::built(self.workspace, "memory")?)?;
        for size in core::demanded(&sizes) {
            let what = format!("bytes for each of {} live endpoints", size.endpoints);
            let each = size.bytes_per_endpoint();
            if each > core::MAX_BYTES_PER_ENDPOINT {
                measured.wrong.push(format!(
                    "{what}: {each:.1}, at most {} are demanded",
                    core::MAX_BYTES_PER_ENDPOINT
                ));
            }
            measured.numbers.insert(what, each);
        }
        Ok(())
    }
}

/// Instructions that stand in each program, what it calls left out; 8 bytes each. How long they
/// take is not among them, but the count is the same wherever it is taken.
fn program_sizes(object: &[u8]) -> Result<BTreeMap<String, f64>> {
    let object = File::parse(object).context("the eBPF object is not as expected")?;
    // What they call stands in `.text`, a program in a section named after its tracepoint.
    let called = object.section_by_name(".text").map(|text| text.index());
    let programs = object.symbols().filter(|symbol| {
        symbol.kind() == SymbolKind::Text && symbol.size() > 0 && symbol.section_index() != called
    });
    let sizes = programs
        .map(|symbol| Ok((symbol.name()?.to_owned(), (symbol.size() / 8) as f64)))
        .collect::<Result<BTreeMap<_, _>>>()?;
    ensure!(
        sizes.contains_key("inet_sock_set_state"),
        "the eBPF object has no program for transitions"
    );
    Ok(sizes)
}

/// The number of instructions in what callgrind writes at its end.
fn collected(log: &str) -> Option<f64> {
    let line = log.lines().find(|line| line.contains("Collected :"))?;
    line.split_ascii_whitespace().last()?.parse().ok()
}

fn version_of(program: &str) -> String {
    let output = stdout_of(Command::new(program).arg("--version")).unwrap_or_default();
    output.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::collected;

    #[test]
    fn callgrinds_count_is_read() {
        let log = "==1== \n==1== Events    : Ir\n==1== Collected : 894604\n==1== \n";
        assert_eq!(collected(log), Some(894_604.0));
        assert_eq!(collected("==1== nothing"), None);
    }
}
