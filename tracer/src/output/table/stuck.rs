//! The line of a socket that is stuck, or no longer stuck.

use std::fmt::Write as _;

use super::{
    BY, CAUSE, CloseTable, LIFE, PATH, SEG, STATES, Style, WallClock, abbreviation, push_state_ms,
    push_with_unit,
};
use crate::output::forecast_text::push_forecast;
use tcpclose_common::TcpState;
use tcpclose_core::stuck::{AgeCertainty, OwnerUnknown, StuckSocket};

impl CloseTable {
    /// Appends the line of a socket that is stuck, or no longer stuck. BY is the side that closed
    /// first, LIFE the time in its state, with `~` where it is estimated.
    pub fn write_stuck(&mut self, out: &mut Vec<u8>, stuck: &StuckSocket, clock: &WallClock) {
        let StuckSocket {
            at,
            event: _,
            endpoint,
            socket,
            age,
            verdict,
            idle_before_fin: _,
            owner,
            owner_unknown,
            holders: _,
            process,
        } = stuck;
        self.fill_endpoint(endpoint, owner.as_ref(), *at, clock);
        let (cells, lasted) = (&mut self.cells, *at - age.since);
        let resolution = stuck.resolution();
        let word = if resolution.is_some() {
            "resolved"
        } else {
            "stuck"
        };
        cells[PATH].set(word);
        match socket.state {
            TcpState::CloseWait | TcpState::LastAck => cells[BY].set("peer"),
            TcpState::FinWait1 | TcpState::FinWait2 => cells[BY].set("local"),
            _ => cells[BY].set_unknown(),
        }
        cells[SEG].set_unknown();
        let about = match age.known {
            AgeCertainty::Observed => "",
            AgeCertainty::Estimated => "~",
        };
        push_with_unit(
            {
                cells[LIFE].set(about);
                &mut cells[LIFE].text
            },
            lasted,
        );
        let _ = write!(
            cells[STATES].clear(),
            "{} {about}",
            abbreviation(socket.state)
        );
        push_state_ms(&mut cells[STATES].text, lasted);
        let cause = cells[CAUSE].clear();
        match resolution {
            Some(resolution) => cause.push_str(resolution.into()),
            None => {
                cause.push_str(verdict.into());
                if let [fd, rest @ ..] = stuck.fds() {
                    let _ = write!(cause, " on fd {fd}");
                    cause.push_str(if rest.is_empty() { "" } else { ", …" });
                }
                cause.push_str(match owner_unknown {
                    Some(OwnerUnknown::NoHolder) => ", no process holds it",
                    Some(OwnerUnknown::NotInspectable) => ", no holder was found",
                    Some(OwnerUnknown::Closed | OwnerUnknown::Unspecified) | None => "",
                });
                if let Some(owner) = process {
                    let _ = write!(cause, ", {} stuck here", owner.stuck);
                    if let Some(forecast) = &owner.forecast {
                        cause.push_str(", ");
                        push_forecast(cause, forecast);
                    }
                }
            }
        }
        let style = match resolution {
            None => Style::Red,
            Some(_) => Style::Green,
        };
        for column in [PATH, CAUSE] {
            cells[column].style = style;
        }
        self.write(out, endpoint, owner.as_ref());
    }
}
