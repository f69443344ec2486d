use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use super::*;
use tcpclose_common::TcpState;
use tcpclose_core::finding::{Endpoint, InitialSequenceNumbers};
use tcpclose_core::types::{CgroupId, NetNs, Owner, OwnerSource, Role, SharedOwner, Thread};

fn tuple() -> Tuple {
    let ends: [SocketAddr; 2] = [([10, 0, 0, 1], 40_000).into(), ([10, 0, 0, 2], 80).into()];
    (ends[0], ends[1]).into()
}

fn owner() -> SharedOwner {
    Arc::new(Owner {
        pid: 4242,
        uid: 1000,
        cgroup: CgroupId::new(77),
        comm: b"python3"[..].into(),
        source: OwnerSource::Connect,
        thread: Some(Thread {
            id: 4243,
            comm: *b"pool-1\0\0\0\0\0\0\0\0\0\0",
        }),
    })
}

fn socket() -> KnownSocket {
    KnownSocket {
        endpoint: Endpoint {
            id: EndpointId(5),
            netns: NetNs::new(4_026_531_840),
            tuple: tuple(),
            role: Role::Client,
            initial: Some(InitialSequenceNumbers { iss: 1, irs: 2 }),
            seen_from_start: true,
            opened: Some(Nanos::from_secs(100)),
            lifetime: None,
            peer: None,
            peer_owner: Some(owner()),
        },
        state: TcpState::CloseWait,
        since: Some(Nanos::from_secs(101)),
        owner: Some(owner()),
        trend: None,
    }
}

fn history() -> RouteHistory {
    RouteHistory {
        since: Nanos::from_secs(90),
        closed_here: 300,
        closed_by_peer: 2,
        lifetime: Some(Nanos::from_millis(2)),
        failed: 9,
        failing_since: Some(Nanos::from_secs(99)),
        failed_at: Some(Nanos::from_secs(100)),
        failed_of: vec![(owner(), 9)],
    }
}

fn route() -> Route {
    Route {
        netns: NetNs::new(4_026_531_840),
        local: tuple().local().ip(),
        peer: tuple().peer(),
    }
}

fn questions() -> [Question; 5] {
    [
        Question::Status,
        Question::Sockets(vec![EndpointId(5), EndpointId(300)]),
        Question::Minisockets(vec![(4_026_531_840, tuple())]),
        Question::Routes(vec![route()]),
        Question::FlightRecorder,
    ]
}

fn answers() -> [Answer; 5] {
    [
        Answer::Status(AgentStatus {
            version: "0.1.0".to_owned(),
            pid: 77,
            started: Nanos(1),
            at: Nanos(2),
        }),
        Answer::Sockets(vec![None, Some(socket())]),
        Answer::Minisockets(vec![
            None,
            Some(KnownMinisocket {
                owner: Some(owner()),
                lifetime: Some(Nanos(9)),
            }),
        ]),
        Answer::Routes(vec![history()]),
        Answer::FlightRecorder(Some(FlightStatus {
            folder: b"/a".to_vec(),
            boot: "b".to_owned(),
            began: Nanos(3),
            at: Nanos(4),
            is_written: true,
        })),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[test]
fn what_is_written_is_read() {
    for question in questions() {
        let frame = question.to_frame();
        assert_eq!(Question::from_content(&frame[HEADER_LEN..]), Ok(question));
    }
    for answer in answers() {
        let frame = answer.to_frame();
        assert_eq!(Answer::from_content(&frame[HEADER_LEN..]), Ok(answer));
    }
}

/// If this fails, fields have changed: raise the version.
#[test]
fn the_bytes_are_those_of_this_version() {
    let frames = questions().map(|question| hex(&question.to_frame()));
    let answers = answers().map(|answer| hex(&answer.to_frame()));
    let all = [frames, answers].concat().join("\n");
    assert_eq!(VERSION, 2);
    assert_eq!(all, include_str!("version_2.hex").trim_end());
}

#[test]
fn what_is_cut_or_longer_is_no_question_and_no_answer() {
    for question in questions() {
        let frame = question.to_frame();
        let content = &frame[HEADER_LEN..];
        for cut in 0..content.len() {
            assert!(Question::from_content(&content[..cut]).is_err(), "{cut}");
        }
        let longer = [content, &[0]].concat();
        assert_eq!(Question::from_content(&longer), Err(FrameError::Content));
    }
    for answer in answers() {
        let frame = answer.to_frame();
        let content = &frame[HEADER_LEN..];
        for cut in 0..content.len() {
            assert!(Answer::from_content(&content[..cut]).is_err(), "{cut}");
        }
    }
}

#[test]
fn a_list_that_claims_to_be_huge_takes_no_memory() {
    // The second variant, and a length of 2^63.
    let claim = [
        1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01,
    ];
    assert_eq!(Question::from_content(&claim), Err(FrameError::Content));
    assert_eq!(Answer::from_content(&claim), Err(FrameError::Content));
}

#[test]
fn a_question_for_too_much_is_refused() {
    let most = Question::Minisockets(vec![(u32::MAX, tuple()); MAX_ITEMS]);
    let frame = most.to_frame();
    assert!(frame.len() <= MAX_QUESTION_LEN / 2, "{}", frame.len());
    assert_eq!(Question::from_content(&frame[HEADER_LEN..]), Ok(most));
    let more = Question::Sockets(vec![EndpointId(1); MAX_ITEMS + 1]).to_frame();
    let refused = Question::from_content(&more[HEADER_LEN..]);
    assert_eq!(refused, Err(FrameError::Content));
}

#[test]
fn the_longest_answers_fit() {
    let owner = Arc::new(Owner {
        pid: u32::MAX,
        uid: u32::MAX,
        cgroup: CgroupId::new(u64::MAX),
        comm: [b'x'; 16][..].into(),
        source: OwnerSource::Proc,
        thread: Some(Thread {
            id: u32::MAX,
            comm: [b'x'; 16],
        }),
    });
    let sockets = KnownSocket {
        owner: Some(owner.clone()),
        ..socket()
    };
    let routes = RouteHistory {
        failed_of: vec![(owner, u64::MAX); 5],
        failed: u64::MAX,
        ..history()
    };
    for answer in [
        Answer::Sockets(vec![Some(sockets); MAX_ITEMS]),
        Answer::Routes(vec![routes; MAX_ITEMS]),
    ] {
        let len = answer.to_frame().len();
        assert!(len <= MAX_ANSWER_LEN / 2, "{len}");
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_refused_or_understood(content in proptest::collection::vec(0_u8.., 0..600)) {
        if let Ok(question) = Question::from_content(&content) {
            let frame = question.to_frame();
            let again = Question::from_content(&frame[HEADER_LEN..]);
            proptest::prop_assert_eq!(again, Ok(question));
        }
        let _ = Answer::from_content(&content);
    }
}
