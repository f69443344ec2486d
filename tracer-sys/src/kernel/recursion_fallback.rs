//! Attaches the fallback of the transition program once the kernel has skipped a run of the main
//! program, as an interrupt came in between. Many hosts are spared its cost, 65 ns a transition; on
//! the others a loss is reported first.

use aya::Ebpf;
use aya::maps::{Array, MapData};
use aya::programs::BtfTracePoint;
use tcpclose_common::FallbackStage;

use super::object::SET_STATE_FALLBACK;

/// The fallback, which is loaded from the start: loading takes rights which may be given up later.
pub(super) struct RecursionFallback {
    /// The stage that both programs read.
    map: Array<MapData, u32>,
    progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Loaded, and not needed yet.
    Waiting,
    Attached,
    Syncing,
    Active,
    /// It cannot be attached: what the main program misses stays lost, and is counted.
    Failed,
}

impl RecursionFallback {
    /// Starts with a fallback that waits until it is needed.
    pub fn new(map: Array<MapData, u32>) -> Self {
        Self {
            map,
            progress: Progress::Waiting,
        }
    }

    /// Returns whether it records what the main program misses.
    pub fn is_active(&self) -> bool {
        self.progress == Progress::Active
    }

    /// Advances the attach sequence by one stage, if a run of the main program was skipped now or
    /// earlier. All transitions of one stage must have ended before the next: call at most every
    /// 100 ms.
    pub fn advance(&mut self, ebpf: &mut Ebpf, is_needed: bool) {
        self.progress = match self.progress {
            Progress::Waiting if is_needed => match attach(ebpf) {
                Ok(()) => Progress::Attached,
                Err(_) => Progress::Failed,
            },
            Progress::Attached => self.set_stage(FallbackStage::Syncing, Progress::Syncing),
            Progress::Syncing => self.set_stage(FallbackStage::Active, Progress::Active),
            progress => progress,
        };
    }

    fn set_stage(&mut self, stage: FallbackStage, next: Progress) -> Progress {
        match self.map.set(0, stage as u32, 0) {
            Ok(()) => next,
            Err(_) => Progress::Failed,
        }
    }
}

fn attach(ebpf: &mut Ebpf) -> anyhow::Result<()> {
    let program = ebpf.program_mut(SET_STATE_FALLBACK);
    let program: &mut BtfTracePoint = program.ok_or(anyhow::anyhow!("no fallback"))?.try_into()?;
    program.attach()?;
    Ok(())
}
