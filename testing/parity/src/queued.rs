//! Closes over the queue: the steps of one connection, and what happens to its segments meanwhile.

use std::net::Shutdown;
use std::time::Duration;

use tcpclose_parity::segment::Endpoint;

use crate::random::Random;
use crate::script::{self, Script};
use crate::steps::{Action, CloseKind, Step};
use crate::treatment::{Effect, Rule, Treatment, Which};

/// Draws both after a kind.
pub fn draw(kind: CloseKind, ipv6: bool, random: &mut Random) -> (Vec<Step>, Treatment) {
    let mut treatment = Treatment::default();
    let steps = match kind {
        CloseKind::Delayed => {
            treatment.delay = [delay(random, 40), delay(random, 40)];
            everyday(random)
        }
        CloseKind::Reordered => {
            treatment.delay = [delay(random, 5), delay(random, 5)];
            treatment.shaken = 10 + random.below(50);
            treatment.shaken_by = random.pick(&[2, 10, 30]).min(30) * MILLISECOND;
            everyday(random)
        }
        CloseKind::HeldFin => {
            let from = random.pick(&SIDES);
            treatment.rules = held(from, Which::Fin, 1, 150, random);
            if random.chance(30) {
                let more = held(from.other(), Which::Fin, 1, 150, random);
                treatment.rules.extend(more);
            }
            orderly(random)
        }
        CloseKind::HeldAck => {
            treatment.delay = [delay(random, 10), delay(random, 10)];
            for from in SIDES {
                let times = random.pick(&[1, 2, 5]);
                let mut rules = held(from, Which::Ack, times, 120, random);
                // The last of the handshake opens the server's socket.
                rules[0].after = 1 + random.below(4) as u32;
                treatment.rules.extend(rules);
            }
            everyday(random)
        }
        CloseKind::HeldReset => {
            let from = random.pick(&SIDES);
            treatment.rules = held(from, Which::Rst, 1, 120, random);
            if random.chance(50) {
                let mut rules = held(from.other(), Which::Data, 1, 60, random);
                rules[0].after = random.below(3) as u32;
                treatment.rules.extend(rules);
            }
            script::draw(random.pick(&WITH_RESETS), random)
        }
        CloseKind::FinBehindHole => fin_behind_hole(&mut treatment, random),
        CloseKind::ClosedWindow => closed_window(random),
        CloseKind::IcmpRefused => {
            treatment.rules.push(Rule {
                from: Endpoint::Client,
                which: Which::Syn,
                after: 0,
                times: u32::MAX,
                effect: Effect::Refuse(unreachable_code(ipv6, random)),
            });
            Script::new(random).closed()
        }
        CloseKind::IcmpError => icmp_error(&mut treatment, ipv6, random),
        CloseKind::LateLinger => late_linger(&mut treatment, random),
        CloseKind::NegativeLinger2 => negative_linger2(&mut treatment, random),
        // The others go over the bridge.
        _ => everyday(random),
    };
    (steps, treatment)
}

const MILLISECOND: Duration = Duration::from_millis(1);
const SIDES: [Endpoint; 2] = [Endpoint::Client, Endpoint::Server];
const WITH_RESETS: [CloseKind; 4] = [
    CloseKind::UnreadData,
    CloseKind::LingerZero,
    CloseKind::DataAfterClose,
    CloseKind::AcceptQueue,
];
const ORDERLY: [CloseKind; 5] = [
    CloseKind::OneThenOther,
    CloseKind::HalfClose,
    CloseKind::Simultaneous,
    CloseKind::FinWithData,
    CloseKind::ShutdownOrders,
];

fn everyday(random: &mut Random) -> Vec<Step> {
    if random.chance(30) {
        script::draw(random.pick(&WITH_RESETS), random)
    } else {
        orderly(random)
    }
}

fn orderly(random: &mut Random) -> Vec<Step> {
    script::draw(random.pick(&ORDERLY), random)
}

/// Up to so many milliseconds, often none.
fn delay(random: &mut Random, most: u64) -> Duration {
    if random.chance(30) {
        Duration::ZERO
    } else {
        Duration::from_micros(random.below(1_000 * most))
    }
}

fn held(from: Endpoint, which: Which, times: u32, most: u64, random: &mut Random) -> Vec<Rule> {
    let longer = Duration::from_micros(200 + random.below(1_000 * most));
    let effect = Effect::Hold(longer);
    vec![Rule {
        from,
        which,
        after: 0,
        times,
        effect,
    }]
}

/// The codes of ICMP's "destination unreachable" that are no question of sizes.
fn unreachable_code(ipv6: bool, random: &mut Random) -> u8 {
    if ipv6 {
        random.pick(&[0, 1, 3, 4, 5, 6])
    } else {
        random.pick(&[0, 1, 2, 3, 9, 10, 13])
    }
}

/// `one` sends data that comes late, also when it is sent again, and its FIN, which comes at once.
fn fin_behind_hole(treatment: &mut Treatment, random: &mut Random) -> Vec<Step> {
    let one = random.pick(&SIDES);
    let other = one.other();
    treatment.delay = [delay(random, 5), delay(random, 5)];
    let mut rules = held(one, Which::Data, 8, 250, random);
    treatment.rules.append(&mut rules);
    let mut script = Script::new(random);
    script.at_once(Endpoint::Server, Action::Accept);
    if script.random.chance(40) {
        script.later(other, Action::Send(100));
    }
    let bytes = script.random.pick(&[1, 300, 5_000]);
    script.later(one, Action::Send(bytes));
    // A FIN right behind its data would take it along.
    script.steps.push(Step {
        after: Duration::from_micros(300 + script.random.below(20_000)),
        endpoint: one,
        action: Action::Shutdown(Shutdown::Write),
    });
    match script.random.below(6) {
        0 => script.later(other, Action::LingerZero).close(other),
        1 => script.later(other, Action::Shutdown(Shutdown::Write)),
        2 => script.later(other, Action::Send(2_000)).close(other),
        3 => script.close(one).later(other, Action::Drain),
        4 => script.later(one, Action::LingerZero).close(one),
        _ => script.later(other, Action::DrainToEnd(500 * MILLISECOND)),
    };
    script.close(other);
    script.closed()
}

/// `one` sends more than the other takes, and closes.
fn closed_window(random: &mut Random) -> Vec<Step> {
    let one = random.pick(&SIDES);
    let other = one.other();
    let mut script = Script::new(random);
    script
        .at_once(Endpoint::Server, Action::Accept)
        .later(one, Action::Fill);
    if script.random.chance(20) {
        script.later(other, Action::Fill);
    }
    if script.random.chance(20) {
        script.later(other, Action::Shutdown(Shutdown::Write));
    }
    if script.random.chance(60) {
        script.later(one, Action::Shutdown(Shutdown::Write));
    } else {
        script.close(one);
    }
    for _ in 0..script.random.below(3) {
        let bytes = 1 + script.random.below(20_000) as usize;
        script.later(other, Action::Read(bytes));
    }
    match script.random.below(6) {
        0 => script.later(other, Action::LingerZero),
        1 => script.later(other, Action::Shutdown(Shutdown::Write)),
        2 => &mut script,
        3 => script
            .later(other, Action::Shutdown(Shutdown::Write))
            .later(other, Action::DrainToEnd(Duration::from_secs(3))),
        4 => script.later(one, Action::LingerZero).close(one),
        _ => script.later(other, Action::DrainToEnd(Duration::from_secs(3))),
    };
    script.close(other);
    script.closed()
}

fn icmp_error(treatment: &mut Treatment, ipv6: bool, random: &mut Random) -> Vec<Step> {
    for from in SIDES {
        if random.chance(70) {
            let which = random.pick(&[Which::Data, Which::Fin, Which::Ack]);
            treatment.rules.push(Rule {
                from,
                which,
                after: random.below(3) as u32,
                times: 1 + random.below(2) as u32,
                effect: Effect::Complain(unreachable_code(ipv6, random)),
            });
        }
    }
    let mut steps = everyday(random);
    for endpoint in SIDES {
        if random.chance(70) {
            // The server's socket is there once it has been accepted.
            let accepted = steps
                .iter()
                .position(|step| step.action == Action::Accept)
                .map_or(0, |at| at + 1);
            steps.insert(
                accepted,
                Step {
                    after: Duration::ZERO,
                    endpoint,
                    action: Action::ReceiveErrors,
                },
            );
        }
    }
    steps
}

/// close() with `SO_LINGER` where the socket is in FIN_WAIT1, FIN_WAIT2, CLOSING or LAST_ACK.
fn late_linger(treatment: &mut Treatment, random: &mut Random) -> Vec<Step> {
    let one = random.pick(&SIDES);
    let other = one.other();
    for from in SIDES {
        let which = random.pick(&[Which::Fin, Which::Ack]);
        let mut rules = held(from, which, 3, 100, random);
        rules[0].after = u32::from(which == Which::Ack);
        treatment.rules.append(&mut rules);
    }
    let mut script = Script::of_connected(random, one);
    script.later(one, Action::Shutdown(Shutdown::Write));
    if script.random.chance(60) {
        script.later(other, Action::Shutdown(Shutdown::Write));
    }
    let who = script.random.pick(&SIDES);
    script.later(who, Action::LingerZero).close(who);
    script.closed()
}

fn negative_linger2(treatment: &mut Treatment, random: &mut Random) -> Vec<Step> {
    let one = random.pick(&SIDES);
    let other = one.other();
    treatment.delay = [delay(random, 20), delay(random, 20)];
    let mut script = Script::of_connected(random, one);
    script.later(one, Action::Linger2(-1));
    if script.random.chance(50) {
        script.later(one, Action::Shutdown(Shutdown::Write));
    }
    if script.random.chance(30) {
        script.later(other, Action::Send(500));
    }
    if script.random.chance(30) {
        script.later(other, Action::Shutdown(Shutdown::Write));
    }
    script.close(one);
    script.closed()
}
