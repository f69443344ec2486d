//! In which ways a recording is shown.

/// One way to show a recording.
#[derive(Clone, Copy)]
pub struct View {
    /// The file that its text is kept in.
    pub file: &'static str,
    /// Arguments, before `--replay FILE`.
    pub args: &'static str,
}

const fn view(file: &'static str, args: &'static str) -> View {
    View { file, args }
}

/// How often `leaks` looks: at some ends of each recording, and not at very many.
pub fn every(recording: &str) -> &'static str {
    if recording.starts_with("live-") {
        "2s"
    } else {
        "2m"
    }
}

/// The ways for a recording, beside those that all have with JSON.
pub fn for_recording(recording: &str) -> Vec<View> {
    let mut views = vec![
        view("watch.txt", "watch"),
        view("watch-verbose.txt", "watch -v"),
    ];
    views.extend(match every(recording) {
        "2s" => [
            view("leaks.txt", "leaks --watch 2s"),
            view("leaks-all.txt", "leaks --watch 5s --all"),
        ],
        _ => [
            view("leaks.txt", "leaks --watch 2m"),
            view("leaks-all.txt", "leaks --watch 10m --all"),
        ],
    });
    let more = MORE.iter().filter(|(of, _)| *of == recording);
    views.extend(more.flat_map(|(_, views)| views.iter().copied()));
    views
}

/// Raw transitions, and what filters leave.
const MORE: &[(&str, &[View])] = &[
    (
        "every-transition",
        &[
            view("transitions.txt", "watch --transitions"),
            view("transitions.jsonl", "watch --transitions --format json"),
            view("transitions-ipv6.txt", "watch --transitions -6"),
            view("transitions-pid.txt", "watch --transitions -p 28089,9"),
            view("transitions-ports.txt", "watch --transitions -L 443,48350"),
            view(
                "transitions-netns.txt",
                "watch --transitions --netns 4026532999",
            ),
            view("transitions-count.txt", "watch --transitions --count 2"),
        ],
    ),
    (
        "live-closes",
        &[
            view("transitions.txt", "watch --transitions"),
            view("watch-ipv4.txt", "watch -4"),
            view("watch-ipv6.txt", "watch -6"),
            view("watch-local-ports.txt", "watch -L 8080,8081"),
            view("watch-peer-ports.txt", "watch -D 8088,9"),
            view("watch-both-ports.txt", "watch -L 8080 -D 50000"),
            view("watch-count.txt", "watch --count 3"),
            view("resets.txt", "resets"),
            view("resets-causes.txt", "resets --cause linger,refused"),
            view("explain-resets.txt", "explain --path reset,timeout -4"),
            view("watch-port.txt", "watch --port 8081,9"),
            view("watch-path.txt", "watch --path timeout --min-life 1s"),
            view("watch-no-loopback.txt", "watch --no-loopback"),
            view("resets-ports.jsonl", "resets -L 8081 --format json"),
        ],
    ),
    (
        "live-classic",
        &[
            view("transitions.txt", "watch --transitions"),
            view("transitions.jsonl", "watch --transitions --format json"),
        ],
    ),
    (
        // Recorded without the transitions that tell nothing of a close.
        "live-stuck",
        &[
            view("transitions.txt", "watch --transitions"),
            view("watch-pid.txt", "watch -p 3867"),
        ],
    ),
    (
        "orderly-closes",
        &[
            view("watch-netns.txt", "watch --netns 4026532005"),
            view("watch-pid.txt", "watch -p 88,377"),
            view("watch-pid.jsonl", "watch -p 88,377 --format json"),
            view("resets.txt", "resets -p 377"),
            view("explain.txt", "explain"),
            view("watch-name.txt", "watch closer"),
        ],
    ),
    ("threads", &[view("explain.txt", "explain")]),
    (
        "losses-and-resync",
        &[
            view("watch-pid.jsonl", "watch -p 1 --format json"),
            view("watch-peer-ports.txt", "watch -D 1"),
        ],
    ),
    (
        "stuck-owners",
        &[
            view("watch-pid.txt", "watch -p 103,7000"),
            view("leaks-pid.txt", "leaks --watch 3m -p 103,7000"),
            view("leaks-ports.txt", "leaks --watch 3m -L 9000 --all"),
            view("leaks-port.txt", "leaks --watch 3m --port 9000 leaker"),
            view("leaks-ipv6.jsonl", "leaks --watch 3m -6 --format json"),
            view("leaks-netns.txt", "leaks --watch 3m --netns 4026531842"),
            view("leaks-count.txt", "leaks --watch 1m --count 3"),
            view("leaks-growth.txt", "leaks --watch 10s -L 9000"),
        ],
    ),
];
