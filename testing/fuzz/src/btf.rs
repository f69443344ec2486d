//! The kernel's type information.

use tcpclose_sys::kernel::btf::Btf;

/// What tcpclose looks for, and what could lead a reader astray.
const MEMBERS: [(&str, &str); 7] = [
    ("sock_common", "skc_daddr"),
    ("sock_common", "skc_v6_daddr"),
    ("sock", "__sk_common.skc_state"),
    ("sock", "sk_lock.owned"),
    ("tcp_sock", "inet_conn.icsk_inet.sk.sk_err"),
    ("tcp_sock", "snd_una"),
    ("", ""),
];
const FUNCTIONS: [&str; 3] = [
    "tcp_set_state",
    "btf_trace_inet_sock_set_state",
    "__inet_twsk_schedule",
];

/// Indexes it, and asks for members, enums, functions and tracepoints.
pub fn btf(data: &[u8]) {
    let Ok(btf) = Btf::parse(data) else {
        return;
    };
    for (structure, path) in MEMBERS {
        let Ok(structure) = btf.structure(structure) else {
            btf.offset(structure, path).unwrap_err();
            continue;
        };
        let bit = structure.bit_offset(path);
        assert!(bit.as_ref().is_ok_and(|(_, bit)| *bit < 8) || bit.is_err());
        // An offset is a bit's place where that is the first of a byte.
        let offset = bit.ok().filter(|(_, bit)| *bit == 0).map(|(at, _)| at);
        assert_eq!(structure.offset(path).ok(), offset);
    }
    let names = btf.enum_names("sk_rst_reason");
    assert!(names.len() * 8 <= data.len(), "more than there is");
    assert!(btf.tracepoint_arguments("inet_sock_set_state") < Some(1 << 16));
    for function in FUNCTIONS {
        let _ = btf.has_function(function);
    }
    // Ours must be readable for aya, whatever it was made of.
    btf.for_aya(&FUNCTIONS).unwrap();
}
