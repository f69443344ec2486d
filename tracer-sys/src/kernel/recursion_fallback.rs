//! When the twin of the transition program is attached: once the kernel has skipped a run of the first one, as an interrupt
//! came in between. Many hosts are spared its cost, 65 ns a transition; on the others a loss is told first.

use aya::Ebpf;
use aya::maps::{Array, MapData};
use aya::programs::BtfTracePoint;
use tcpclose_common::FallbackStage;

use super::attach::NESTED;

/// The twin, which is loaded from the start: that takes rights which may be given up later.
pub(super) struct RecursionFallback {
    /// What the programs are told.
    map: Array<MapData, u32>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waits,
    Attached,
    Listens,
    Works,
    /// It cannot be loaded or attached: what the first program misses stays lost, and is counted.
    Fails,
}

impl RecursionFallback {
    /// It waits until it is needed.
    pub fn new(map: Array<MapData, u32>) -> Self {
        Self {
            map,
            stage: Stage::Waits,
        }
    }

    /// Whether it takes what the first program misses.
    pub fn works(&self) -> bool {
        self.stage == Stage::Works
    }

    /// A step further, if it is needed or was before. Between two calls any transition must be through: they are to be a
    /// tenth of a second apart at least.
    pub fn step(&mut self, ebpf: &mut Ebpf, is_needed: bool) {
        self.stage = match self.stage {
            Stage::Waits if is_needed => match attach(ebpf) {
                Ok(()) => Stage::Attached,
                Err(_) => Stage::Fails,
            },
            Stage::Attached => self.tell(FallbackStage::Listens, Stage::Listens),
            Stage::Listens => self.tell(FallbackStage::Works, Stage::Works),
            stage => stage,
        };
    }

    fn tell(&mut self, said: FallbackStage, next: Stage) -> Stage {
        match self.map.set(0, said as u32, 0) {
            Ok(()) => next,
            Err(_) => Stage::Fails,
        }
    }
}

fn attach(ebpf: &mut Ebpf) -> anyhow::Result<()> {
    let program = ebpf.program_mut(NESTED);
    let program: &mut BtfTracePoint = program.ok_or(anyhow::anyhow!("no twin"))?.try_into()?;
    program.attach()?;
    Ok(())
}
