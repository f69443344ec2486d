//! Attaches the fallback of the transition program once the kernel has skipped a run of the main
//! program, as an interrupt came in between. Many hosts are spared its cost, 65 ns a transition; on
//! the others a loss is reported first.

use aya::Ebpf;
use aya::maps::{Array, MapData};
use aya::programs::BtfTracePoint;
use tcpclose_common::FallbackStage;

use super::load_error::AttachError;
use super::object::SET_STATE_FALLBACK;

/// The fallback, which is loaded from the start: loading takes rights which may be given up later.
pub(super) struct RecursionFallback {
    /// The stage that both programs read.
    map: Array<MapData, u32>,
    progress: AttachProgress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AttachProgress {
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
            progress: AttachProgress::Waiting,
        }
    }

    /// Returns whether it records what the main program misses.
    pub fn is_active(&self) -> bool {
        self.progress == AttachProgress::Active
    }

    /// Advances the attach sequence by one stage, if a run of the main program was skipped now or
    /// earlier. All transitions of one stage must have ended before the next: call at most every
    /// 100 ms.
    pub fn advance(&mut self, ebpf: &mut Ebpf, is_needed: bool) {
        self.progress = match self.progress {
            AttachProgress::Waiting if is_needed => match attach(ebpf) {
                Ok(()) => AttachProgress::Attached,
                Err(_) => AttachProgress::Failed,
            },
            AttachProgress::Attached => {
                self.set_stage(FallbackStage::Syncing, AttachProgress::Syncing)
            }
            AttachProgress::Syncing => {
                self.set_stage(FallbackStage::Active, AttachProgress::Active)
            }
            progress => progress,
        };
    }

    fn set_stage(&mut self, stage: FallbackStage, next: AttachProgress) -> AttachProgress {
        match self.map.set(0, stage as u32, 0) {
            Ok(()) => next,
            Err(_) => AttachProgress::Failed,
        }
    }
}

fn attach(ebpf: &mut Ebpf) -> Result<(), AttachError> {
    let program = ebpf.program_mut(SET_STATE_FALLBACK);
    let program = program.ok_or(AttachError::NoProgram(SET_STATE_FALLBACK))?;
    let program: &mut BtfTracePoint = program.try_into()?;
    program.attach()?;
    Ok(())
}
