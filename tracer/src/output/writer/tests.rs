use crate::record::RawTransition;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::Instant;

use super::*;
use crate::output::samples::{self, OneCgroup, us};
use crate::output::terminal::Size;
use tcpclose_core::container_filter::ContainerFilter;
use tcpclose_core::finding::{Finding, Loss, LossLocation};
use tcpclose_core::process::Container;

const LONG: Duration = Duration::from_secs(10);

/// An output whose text can be inspected, and that can be blocked.
#[derive(Clone, Default)]
struct Page {
    text: Arc<Mutex<Vec<u8>>>,
    flushed: Arc<AtomicU64>,
    /// Locked by a test to block all writes.
    gate: Arc<Mutex<()>>,
}

impl Page {
    fn text(&self) -> String {
        String::from_utf8(self.text.lock().expect("no panic in a writer").clone()).expect("UTF-8")
    }
}

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _open = self.gate.lock().expect("no panic in a test");
        self.text
            .lock()
            .expect("no panic in a test")
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flushed.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// An output that fails after this many bytes.
struct Failing(usize, io::ErrorKind);

impl Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.min(bytes.len()) {
            0 => Err(self.1.into()),
            count => {
                self.0 -= count;
                Ok(count)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn options(capacity: usize) -> Options {
    Options {
        clock: samples::clock(),
        cgroups: Box::new(OneCgroup::new("/user.slice", None)),
        capacity,
        ..Options::default()
    }
}

fn close() -> Line {
    Line::Record(Finding::Close(Box::new(samples::three_way())).into())
}

fn loss() -> Line {
    let loss = Finding::Loss(Loss {
        at: us(1),
        lost: 12,
        location: LossLocation::Ring,
        repaired: false,
        duration: None,
    });
    Line::Record(loss.into())
}

fn transition() -> Line {
    Line::Transition(Box::new(RawTransition {
        transition: samples::transition(),
        time_in_old_state: Some(us(8_360)),
    }))
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LONG, "never: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn end_of(writer: &mut Writer) -> WriterEnd {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let end = async { tokio::time::timeout(LONG, writer.closed()).await };
    runtime
        .expect("a runtime")
        .block_on(end)
        .expect("the writer's end is reported")
}

#[test]
fn the_titles_come_first_and_at_once() {
    for (view, title) in [
        (View::Closes, "TIME     PROCESS "),
        (View::Transitions, "SKADDR "),
    ] {
        let page = Page::default();
        let options = Options { view, ..options(4) };
        let writer = Writer::start(Format::Table, options, page.clone()).expect("a thread");
        wait_until("titles are flushed", || {
            page.flushed.load(Ordering::SeqCst) > 0
        });
        assert!(page.text().starts_with(title), "{}", page.text());
        assert_eq!(writer.finish(LONG).unwrap(), 0);
    }
}

/// Lets no line pass whose owner is not in this container.
fn only_container(id: &str) -> Options {
    let container = Container {
        runtime: "docker",
        id: "0123456789abcdef".to_owned(),
        pod: None,
        names: None,
    };
    Options {
        cgroups: Box::new(OneCgroup::new("/docker/x", Some(container))),
        containers: ContainerFilter {
            containers: [id.to_owned()].into(),
            ..ContainerFilter::default()
        },
        ..options(1_000)
    }
}

#[test]
fn lines_of_other_containers_are_left_out_and_losses_are_not() {
    for (id, written) in [("0123456789ab", "loss close transition"), ("other", "loss")] {
        let page = Page::default();
        let options = only_container(id);
        let mut writer = Writer::start(Format::Json, options, page.clone()).expect("a thread");
        for line in [loss(), close(), transition()] {
            writer.send(line);
        }
        assert_eq!(writer.finish(LONG).unwrap(), 0, "none is lost");
        let text = page.text();
        let kinds = text.lines().map(|line| {
            let record: serde_json::Value = serde_json::from_str(line).expect("JSON");
            record["kind"].as_str().expect("a kind").to_owned()
        });
        assert_eq!(kinds.collect::<Vec<_>>().join(" "), written);
    }
}

#[test]
fn the_writer_ends_after_as_many_lines_as_were_asked_for() {
    let page = Page::default();
    let mut options = only_container("0123456789ab");
    options.limit = Some(2);
    let mut writer = Writer::start(Format::Json, options, page.clone()).expect("a thread");
    let mut of_nobody = samples::three_way();
    of_nobody.owner = None;
    let of_nobody = || Line::Record(Finding::Close(Box::new(of_nobody.clone())).into());
    for line in [of_nobody(), loss(), close(), of_nobody(), close(), close()] {
        writer.send(line);
    }
    assert!(matches!(end_of(&mut writer), WriterEnd::LimitReached));
    assert_eq!(page.text().lines().count(), 3, "{}", page.text());
    // Later lines are not wanted, so they are no loss.
    writer.send(close());
    assert_eq!(writer.take_dropped(), 0);
}

#[test]
fn lines_of_several_rows_count_as_one() {
    for view in [View::Closes, View::Ladders] {
        let page = Page::default();
        let stopped = page.gate.lock().expect("no panic in a test");
        let options = Options { view, ..options(4) };
        let mut writer = Writer::start(Format::Table, options, page.clone()).expect("a thread");
        let reset = Finding::Close(Box::new(samples::reset()));
        for _ in 0..2 {
            writer.send(Line::Record(reset.clone().into()));
        }
        assert_eq!(writer.unwritten(), 2);
        drop(stopped);
        wait_until("both are written", || writer.unwritten() == 0);
        assert_eq!(writer.shown(), 2);
        assert_eq!(writer.finish(LONG).unwrap(), 0);
        assert!(page.text().lines().count() > 4, "{}", page.text());
    }
}

/// Returns what is written of 60 closes to a terminal of this size.
fn on_a_terminal(terminal: fn() -> Option<Size>) -> String {
    let page = Page::default();
    let options = Options {
        terminal,
        ..options(100)
    };
    let mut writer = Writer::start(Format::Table, options, page.clone()).expect("a thread");
    for _ in 0..60 {
        writer.send(close());
    }
    assert_eq!(writer.finish(LONG).unwrap(), 0);
    page.text()
}

#[test]
fn the_titles_come_again_after_each_screenful_of_a_terminal() {
    let text = on_a_terminal(|| {
        Some(Size {
            columns: 80,
            rows: 24,
        })
    });
    let titles = text.lines().enumerate();
    let titles = titles.filter(|(_, line)| line.starts_with("TIME"));
    let titles: Vec<usize> = titles.map(|(number, _)| number).collect();
    assert_eq!(titles, [0, 23, 46]);
    for terminal in [
        || None,
        || {
            Some(Size {
                columns: 80,
                rows: 0,
            })
        },
    ] as [fn() -> Option<Size>; 2]
    {
        assert_eq!(on_a_terminal(terminal).matches("TIME").count(), 1);
    }
}

#[test]
fn finish_writes_all_that_is_queued() {
    let page = Page::default();
    let mut writer = Writer::start(Format::Json, options(1_000), page.clone()).expect("a thread");
    let stopped = page.gate.lock().expect("no panic in a writer");
    for _ in 0..999 {
        writer.send(close());
    }
    writer.send(loss());
    drop(stopped);
    assert_eq!(writer.finish(LONG).unwrap(), 0);
    let text = page.text();
    assert_eq!(text.lines().count(), 1_000);
    assert_eq!(text.matches(r#""cgroup":"/user.slice""#).count(), 999);
    assert!(text.ends_with("\"where\":\"ring\",\"repaired\":false,\"duration_ms\":null}\n"));
}

#[test]
fn a_line_is_flushed_without_a_successor() {
    let page = Page::default();
    let mut writer = Writer::start(Format::Json, options(4), page.clone()).expect("a thread");
    writer.send(transition());
    wait_until("the line is out", || page.text().ends_with("}}\n"));
    wait_until("it is flushed", || page.flushed.load(Ordering::SeqCst) >= 2);
    assert_eq!(writer.finish(LONG).unwrap(), 0);
}

#[test]
fn tables_leave_losses_to_standard_error() {
    let page = Page::default();
    let mut writer = Writer::start(Format::Table, options(4), page.clone()).expect("a thread");
    writer.send(loss());
    writer.send(close());
    assert_eq!(writer.finish(LONG).unwrap(), 0);
    assert_eq!(page.text().lines().count(), 2);
}

#[test]
fn lines_that_do_not_fit_are_counted_and_the_sender_is_not_blocked() {
    let page = Page::default();
    let stopped = page.gate.lock().expect("no panic in a writer");
    let mut writer = Writer::start(Format::Table, options(4), page.clone()).expect("a thread");
    for _ in 0..10 {
        writer.send(close());
    }
    assert_eq!(
        writer.take_dropped(),
        0,
        "a record of it would not fit either"
    );
    drop(stopped);
    wait_until("the four that fitted are out", || {
        page.text().lines().count() == 1 + 4
    });
    wait_until("they are counted", || writer.unwritten() == 0);
    assert_eq!(writer.take_dropped(), 6);
    assert_eq!(writer.take_dropped(), 0);
    assert_eq!(writer.finish(LONG).unwrap(), 0);
    assert_eq!(page.text().lines().count(), 1 + 4);
}

#[test]
fn a_stuck_reader_is_given_up() {
    let page = Page::default();
    let _stopped = page.gate.lock().expect("no panic in a writer");
    let mut writer = Writer::start(Format::Table, options(4), page.clone()).expect("a thread");
    for _ in 0..5 {
        writer.send(close());
    }
    let start = Instant::now();
    assert_eq!(writer.finish(Duration::from_millis(20)).unwrap(), 5);
    assert!(start.elapsed() < LONG);
}

#[test]
fn a_closed_pipe_is_reported_once() {
    let (reader, pipe) = io::pipe().expect("a pipe");
    drop(reader);
    let mut writer = Writer::start(Format::Json, options(4), pipe).expect("a thread");
    writer.send(close());
    assert!(matches!(end_of(&mut writer), WriterEnd::PipeClosed));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let again = async { tokio::time::timeout(Duration::from_millis(5), writer.closed()).await };
    runtime.expect("a runtime").block_on(again).unwrap_err();
    assert_eq!(writer.finish(LONG).unwrap(), 1);
}

#[test]
fn a_full_disk_is_reported_and_the_lines_it_took_are_not_lost() {
    let mut one = Vec::new();
    let Line::Record(record) = close() else {
        panic!("a close is a finding")
    };
    let Options {
        clock, mut cgroups, ..
    } = options(0);
    super::super::json::write_record(
        &mut one,
        &record,
        &clock,
        cgroups.as_mut(),
        &super::super::json::JsonOptions::default(),
    )
    .expect("memory");

    let disk = Failing(one.len() * 5 / 2, io::ErrorKind::StorageFull);
    let mut writer = Writer::start(Format::Json, options(8), disk).expect("a thread");
    for _ in 0..4 {
        writer.send(close());
    }
    match end_of(&mut writer) {
        WriterEnd::Failed(error) => assert_eq!(error.kind(), io::ErrorKind::StorageFull),
        end => panic!("a disk is no pipe: {end:?}"),
    }
    writer.send(close());
    assert_eq!(writer.finish(LONG).unwrap(), 3);
}

#[test]
fn a_failure_at_the_very_end_is_reported() {
    let disk = Failing(0, io::ErrorKind::StorageFull);
    let mut writer = Writer::start(Format::Json, options(8), disk).expect("a thread");
    writer.send(close());
    assert!(matches!(writer.finish(LONG), Err(WriterEnd::Failed(_))));
}

#[test]
fn an_output_that_would_block_is_waited_for() {
    struct Hesitant(Page, bool);
    impl Write for Hesitant {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1 = !self.1;
            let kind = if bytes.len().is_multiple_of(2) {
                io::ErrorKind::WouldBlock
            } else {
                io::ErrorKind::Interrupted
            };
            if self.1 {
                Err(kind.into())
            } else {
                self.0.write(&bytes[..bytes.len().min(100)])
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0.flush()
        }
    }
    let page = Page::default();
    let mut writer =
        Writer::start(Format::Json, options(4), Hesitant(page.clone(), false)).expect("a thread");
    writer.send(close());
    assert_eq!(writer.finish(LONG).unwrap(), 0);
    assert!(page.text().ends_with("\"time_wait\":null}\n"));
}
