//! Recognizes what a process runs on, by its executable and by what it has mapped. Its name and its
//! arguments are no evidence: it chooses them itself.

use std::path::Path;

use tcpclose_core::stuck::why::Runtime;

/// The most bytes of `/proc/PID/maps` that are read.
pub(super) const MAX_MAPS_LEN: u64 = 1024 * 1024;

/// Where Go's heap begins, in arenas of 64 MiB (`mallocinit` of runtime/malloc.go).
const GO_HEAP: u64 = if cfg!(target_arch = "aarch64") {
    0x40_0000_0000
} else {
    0xc0_0000_0000
};
const GO_ARENA_LEN: u64 = 64 << 20;

/// The least that node maps of its executable. Another program of that name would take the signal
/// badly that asks node for its inspector.
const MIN_NODE_LEN: u64 = 16 << 20;

/// A mapping: where it is, and of what file.
struct Mapping<'a> {
    start: u64,
    end: u64,
    path: &'a str,
}

/// Returns what a process with this executable and these mappings runs on. `None` where that was
/// not, or not completely, read and nothing was recognized.
pub(super) fn recognize(exe: Option<&Path>, maps: &[u8]) -> Option<Runtime> {
    let text = String::from_utf8_lossy(maps);
    let mappings: Vec<Mapping<'_>> = text.lines().filter_map(parse).collect();
    let exe = exe.and_then(Path::to_str)?;
    let maps_file = |start: &str| {
        let is_it = |mapping: &Mapping<'_>| {
            let name = file_name(mapping.path);
            name.starts_with(start) && (name.ends_with(".so") || name.contains(".so."))
        };
        mappings.iter().any(is_it)
    };
    let of_exe = mappings.iter().filter(|mapping| mapping.path == exe);
    let exe_len: u64 = of_exe.map(|mapping| mapping.end - mapping.start).sum();
    let name = file_name(exe);
    let is_node = matches!(name, "node" | "nodejs") && exe_len >= MIN_NODE_LEN;
    if maps_file("libjvm.") {
        Some(Runtime::Java)
    } else if maps_file("libcoreclr.") {
        Some(Runtime::DotNet)
    } else if maps_file("libnode.") || is_node {
        Some(Runtime::Node)
    } else if maps_file("libpython3") || is_versioned(name, "python") {
        Some(Runtime::Python)
    } else if maps_file("libruby") || is_versioned(name, "ruby") {
        Some(Runtime::Ruby)
    } else if has_go_heap(&mappings) {
        Some(Runtime::Go)
    } else {
        let is_whole = !maps.is_empty() && (maps.len() as u64) < MAX_MAPS_LEN;
        is_whole.then_some(Runtime::Native)
    }
}

/// Parses `START-END PERMISSIONS OFFSET DEVICE INODE PATH`.
fn parse(line: &str) -> Option<Mapping<'_>> {
    let mut fields = line.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let path = fields.nth(4).unwrap_or_default().trim_start();
    let (start, end) = (
        u64::from_str_radix(start, 16).ok()?,
        u64::from_str_radix(end, 16).ok()?,
    );
    (start <= end).then_some(Mapping { start, end, path })
}

fn file_name(path: &str) -> &str {
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    path.rsplit('/').next().unwrap_or(path)
}

/// Returns whether this is the name of a program, maybe with its version.
fn is_versioned(name: &str, program: &str) -> bool {
    let version = name.strip_prefix(program);
    version.is_some_and(|version| version.bytes().all(|byte| b"0123456789.".contains(&byte)))
}

/// Returns whether the heap has the form of Go's: newer ones name their mappings, and in all of
/// them the first arena lies where nothing else puts anything, used from its beginning on.
fn has_go_heap(mappings: &[Mapping<'_>]) -> bool {
    let is_named = |mapping: &Mapping<'_>| mapping.path.starts_with("[anon: Go: ");
    let mut end = GO_HEAP;
    for mapping in mappings.iter().filter(|mapping| mapping.path.is_empty()) {
        if mapping.start == end {
            end = mapping.end;
        }
    }
    let is_arena = end > GO_HEAP && (end - GO_HEAP).is_multiple_of(GO_ARENA_LEN);
    is_arena || mappings.iter().any(is_named)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime(exe: &str, maps: &str) -> Option<Runtime> {
        recognize(Some(Path::new(exe)), maps.as_bytes())
    }

    #[test]
    fn a_library_shows_the_runtime_whatever_the_executable() {
        for (library, expected) in [
            ("/usr/lib/jvm/17/lib/server/libjvm.so", Runtime::Java),
            ("/usr/lib/dotnet/8.0/libcoreclr.so", Runtime::DotNet),
            ("/usr/lib/x86_64-linux-gnu/libnode.so.108", Runtime::Node),
            ("/usr/lib/libpython3.12.so.1.0 (deleted)", Runtime::Python),
            ("/usr/lib/libruby-3.1.so.3.1", Runtime::Ruby),
            ("/usr/lib/x86_64-linux-gnu/libc.so.6", Runtime::Native),
            ("/tmp/libjvm.txt", Runtime::Native),
        ] {
            let maps = format!("7f0000000000-7f0000001000 r-xp 00000000 08:01 42     {library}\n");
            assert_eq!(runtime("/srv/app", &maps), Some(expected), "{library}");
        }
    }

    #[test]
    fn node_is_recognized_by_its_size_too() {
        let maps = |end: &str| format!("400000-{end} r-xp 00000000 08:01 42   /usr/bin/node\n");
        assert_eq!(
            runtime("/usr/bin/node", &maps("2400000")),
            Some(Runtime::Node)
        );
        assert_eq!(
            runtime("/usr/bin/node", &maps("500000")),
            Some(Runtime::Native)
        );
    }

    #[test]
    fn an_interpreter_may_have_its_version_in_its_name() {
        let maps = "400000-500000 r-xp 00000000 08:01 42   /usr/bin/x\n";
        assert_eq!(runtime("/usr/bin/python3.11", maps), Some(Runtime::Python));
        assert_eq!(
            runtime("/usr/bin/python3-config", maps),
            Some(Runtime::Native)
        );
    }

    #[test]
    fn the_first_arena_of_a_go_program_is_recognized() {
        let arena = |end: &str| {
            format!(
                "{:x}-{:x} rw-p 00000000 00:00 0 \n{:x}-{end} ---p 00000000 00:00 0 \n",
                GO_HEAP,
                GO_HEAP + 0x40_0000,
                GO_HEAP + 0x40_0000
            )
        };
        let whole = arena(&format!("{:x}", GO_HEAP + GO_ARENA_LEN));
        assert_eq!(runtime("/srv/app", &whole), Some(Runtime::Go));
        let part = arena(&format!("{:x}", GO_HEAP + GO_ARENA_LEN / 2));
        assert_eq!(runtime("/srv/app", &part), Some(Runtime::Native));
        let named = "7f0000000000-7f0000001000 rw-p 00000000 00:00 0   [anon: Go: heap index]\n";
        assert_eq!(runtime("/srv/app", named), Some(Runtime::Go));
    }

    #[test]
    fn what_was_not_read_is_not_native() {
        assert_eq!(runtime("/srv/app", ""), None);
        assert_eq!(recognize(None, b"400000-500000 r-xp 0 08:01 42 /x\n"), None);
    }
}
