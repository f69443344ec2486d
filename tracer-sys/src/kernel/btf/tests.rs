use super::{
    Btf, BtfError, KIND_FUNC, KIND_FUNC_PROTO, KIND_INT, KIND_PTR, KIND_STRUCT, KIND_TYPEDEF,
    KIND_UNION,
};

/// Builds BTF by hand: types in order (ids from 1), each with its name, kind, vlen, size or type,
/// and trailing words.
#[derive(Default)]
struct Builder {
    types: Vec<u8>,
    strings: Vec<u8>,
}

impl Builder {
    fn new() -> Self {
        Self {
            types: Vec::new(),
            strings: vec![0],
        }
    }

    fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let at = self.strings.len() as u32;
        self.strings.extend_from_slice(name.as_bytes());
        self.strings.push(0);
        at
    }

    fn add(
        &mut self,
        name: &str,
        kind: u32,
        vlen: u32,
        size_or_type: u32,
        rest: &[u32],
    ) -> &mut Self {
        let name = self.name(name);
        for word in [name, (kind << 24) | vlen, size_or_type].iter().chain(rest) {
            self.types.extend_from_slice(&word.to_ne_bytes());
        }
        self
    }

    fn build(&self) -> Vec<u8> {
        let mut out = 0xeb9f_u16.to_ne_bytes().to_vec();
        out.extend_from_slice(&[1, 0]);
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        for word in [24, 0, types, types, strings] {
            out.extend_from_slice(&u32::to_ne_bytes(word));
        }
        out.extend_from_slice(&self.types);
        out.extend_from_slice(&self.strings);
        out
    }
}

fn sample() -> Vec<u8> {
    let mut btf = Builder::new();
    let (a, b, inner) = (btf.name("a"), btf.name("b"), btf.name("inner"));
    btf.add("int", KIND_INT, 0, 4, &[32]);
    // 2: an anonymous union with `a`; 3: struct nested { int b @32 }; 4: a typedef of it
    btf.add("", KIND_UNION, 1, 4, &[a, 1, 0]);
    btf.add("nested", KIND_STRUCT, 1, 8, &[b, 1, 32]);
    btf.add("nested_t", KIND_TYPEDEF, 0, 3, &[]);
    // 5: struct outer { union {..} @64; nested_t inner @96 }
    btf.add("outer", KIND_STRUCT, 2, 24, &[0, 2, 64, inner, 4, 96]);
    // 6, 7, 8: btf_trace_thing is a pointer to a prototype with data pointer and two arguments
    btf.add("", KIND_FUNC_PROTO, 3, 0, &[0, 0, 0, 1, 0, 1]);
    btf.add("", KIND_PTR, 0, 6, &[]);
    btf.add("btf_trace_thing", KIND_TYPEDEF, 0, 7, &[]);
    btf.add("helper", KIND_FUNC, 0, 6, &[]);
    // 10: struct flags { int a:6 @0; int b:1 @6 }; the top bit of the word with kind and vlen
    // shows that sizes are given
    btf.add(
        "flags",
        KIND_STRUCT | (1 << 7),
        2,
        4,
        &[a, 1, 6 << 24, b, 1, (1 << 24) | 6],
    );
    btf.build()
}

#[test]
fn members_are_found_through_anonymous_and_embedded_structures() {
    let bytes = sample();
    let btf = Btf::parse(&bytes).unwrap();
    assert_eq!(btf.offset("outer", "a"), Ok(8));
    assert_eq!(btf.offset("outer", "inner"), Ok(12));
    assert_eq!(btf.offset("outer", "inner.b"), Ok(16));
    assert_eq!(
        btf.offset("outer", "c"),
        Err(BtfError::NoMember {
            structure: "outer".into(),
            member: "c".into()
        })
    );
    assert_eq!(
        btf.offset("other", "c"),
        Err(BtfError::NoType("struct other".into()))
    );
}

#[test]
fn a_bit_field_has_a_byte_offset_and_a_bit_offset() {
    let bytes = sample();
    let btf = Btf::parse(&bytes).unwrap();
    assert_eq!(btf.structure("flags").unwrap().bit_offset("b"), Ok((0, 6)));
    assert_eq!(btf.offset("flags", "a"), Ok(0));
    assert!(btf.offset("flags", "b").is_err(), "it starts inside a byte");
}

#[test]
fn tracepoints_and_functions_are_found() {
    let bytes = sample();
    let btf = Btf::parse(&bytes).unwrap();
    assert_eq!(btf.tracepoint_arguments("thing"), Some(2));
    assert_eq!(btf.tracepoint_arguments("nothing"), None);
    assert!(btf.has_function("helper"));
    assert!(!btf.has_function("help"));
}

#[test]
fn the_reduced_btf_keeps_type_ids_and_no_other_names() {
    let bytes = sample();
    let btf = Btf::parse(&bytes).unwrap();
    let only = btf.reduced_to(&["helper", "no such function", "btf_trace_thing"]);
    let thin = Btf::parse(&only).unwrap();
    for (kind, name) in [(KIND_TYPEDEF, "btf_trace_thing"), (KIND_FUNC, "helper")] {
        let number = btf.find_id(&[kind], name);
        assert!(number.is_some(), "{name}");
        assert_eq!(thin.find_id(&[kind], name), number, "{name}");
    }
    assert_eq!(thin.find_id(&[KIND_TYPEDEF], "nested_t"), None);
    assert!(only.len() < bytes.len());
    aya::Btf::parse(&only, aya::Endianness::default()).expect("aya reads it");
    btf.for_aya(&[]).expect("none are none");
}

#[test]
fn truncated_btf_never_panics() {
    let bytes = sample();
    for length in 0..bytes.len() {
        if let Ok(btf) = Btf::parse(&bytes[..length]) {
            let _ = btf.offset("outer", "inner.b");
        }
    }
    assert_eq!(
        Btf::parse(b"ELF?").err(),
        Some(BtfError::Malformed("it has no BTF magic"))
    );
}

#[test]
fn this_kernels_btf_has_what_the_programs_need() {
    let Ok(bytes) = std::fs::read(super::VMLINUX) else {
        tcpclose_kit::skip::skip("this kernel has no BTF");
        return;
    };
    let btf = Btf::parse(&bytes).unwrap();
    let config = crate::kernel::offsets::from_btf(&btf).unwrap();
    assert!(config.sk_err > config.skc_state);
    assert!(config.snd_nxt > config.inet_sport);
}

#[test]
fn a_member_that_has_moved_is_reported_with_both_offsets() {
    let data = sample();
    let btf = Btf::parse(&data).unwrap();
    let outer = btf.structure("outer").unwrap();
    assert_eq!(outer.check_offset("a", 8), Ok(()));
    let moved = outer.check_offset("a", 16).unwrap_err();
    assert_eq!(
        moved.to_string(),
        "the kernel's struct outer has a at byte 8, and the eBPF program expects it at 16"
    );
    assert!(outer.check_offset("z", 8).is_err());
}

#[test]
fn a_structure_that_contains_itself_does_not_loop() {
    let mut btf = Builder::new();
    // Its members are anonymous, and all of them are itself.
    let itself: Vec<u32> = (0..8).flat_map(|_| [0, 1, 0]).collect();
    btf.add("ring", KIND_STRUCT, 8, 8, &itself);
    let bytes = btf.build();
    let btf = Btf::parse(&bytes).unwrap();
    btf.offset("ring", "member").unwrap_err();
}

#[test]
fn an_offset_that_overflows_is_an_error() {
    let mut btf = Builder::new();
    let member = btf.name("member");
    btf.add("int", KIND_INT, 0, 4, &[32]);
    btf.add("", KIND_STRUCT, 1, 8, &[member, 1, 8]);
    btf.add("outer", KIND_STRUCT, 1, 8, &[0, 2, u32::MAX]);
    let bytes = btf.build();
    let btf = Btf::parse(&bytes).unwrap();
    btf.offset("outer", "member").unwrap_err();
}
