//! Counts of application bytes.

use tcpclose_common::TcpState;

use crate::scenarios::steps;
use crate::socket::{IRS, ISS, Socket, World, tuple};

#[test]
fn fast_open_data_counts_from_the_first_byte() {
    let mut world = World::new();
    let mut end = Socket::connecting(&mut world, 5);
    // Three bytes went with the SYN and were acknowledged with it; four came with the answer.
    end.evidence.tcp.snd_una = ISS.wrapping_add(4);
    end.evidence.tcp.snd_nxt = end.evidence.tcp.snd_una;
    end.evidence.tcp.write_seq = end.evidence.tcp.snd_una;
    end.evidence.tcp.bytes_acked = 4;
    end.evidence.tcp.rcv_nxt = IRS.wrapping_add(5);
    end.read_up_to = end.evidence.tcp.rcv_nxt;
    end.evidence.tcp.bytes_received = 4;
    end.tuple = tuple(40_000, 3306);
    end.to(&mut world, TcpState::Established);
    end.closes_first(&mut world);
    end.enters_time_wait(&mut world);
    let close = world.close();
    assert_eq!(steps(&close)[0], "local FIN,ACK 4 5");
    assert_eq!((close.bytes.sent, close.bytes.received), (Some(3), Some(4)));
}

#[test]
fn half_close_counts_what_was_sent_not_what_was_written() {
    let mut world = World::new();
    let mut end = Socket::server(&mut world, 5);
    end.receives_fin();
    end.to(&mut world, TcpState::CloseWait);
    end.acknowledges();
    end.sends(100);
    end.evidence.tcp.write_seq = end.evidence.tcp.write_seq.wrapping_add(5000);
    world.pass_ms(10);
    end.evidence.tcp.error = 32;
    end.to(&mut world, TcpState::Close);
    let close = world.close();
    assert_eq!(close.half_close.map(|half| half.bytes_sent), Some(100));
    assert_eq!(close.bytes.sent, Some(100));
}
