//! The minimum cost of any tracer of TCP states: a program that does nothing, at the tracepoint
//! that all of them use.

#![expect(unsafe_code, reason = "bpf(2)")]

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};

/// A number for each of include/uapi/linux/bpf.h.
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_RAW_TRACEPOINT_OPEN: libc::c_int = 17;
const BPF_PROG_TYPE_RAW_TRACEPOINT: u32 = 17;

/// `r0 = 0; exit`
const EMPTY_PROGRAM: [u64; 2] = [0xb7, 0x95];

/// The first members of `union bpf_attr` for `BPF_PROG_LOAD`; the kernel takes the others as zero.
#[repr(C)]
struct Load {
    program_type: u32,
    instruction_count: u32,
    instructions: *const u64,
    license: *const libc::c_char,
}

/// The same for `BPF_RAW_TRACEPOINT_OPEN`.
#[repr(C)]
struct Open {
    name: *const libc::c_char,
    program: u32,
    reserved: u32,
}

/// It is attached; dropped, it is detached.
pub struct EmptyProgram {
    _program: OwnedFd,
    _link: OwnedFd,
}

impl EmptyProgram {
    /// Attaches one to `sock:inet_sock_set_state`, by the way into a program that tcpclose's own
    /// take.
    pub fn attach() -> Result<Self> {
        let load = Load {
            program_type: BPF_PROG_TYPE_RAW_TRACEPOINT,
            instruction_count: EMPTY_PROGRAM.len() as u32,
            instructions: EMPTY_PROGRAM.as_ptr(),
            license: c"MIT".as_ptr(),
        };
        // SAFETY: what the attributes point to outlives the call, and the call takes no others for
        // this command.
        let program = unsafe { bpf(BPF_PROG_LOAD, &load) }.context("cannot load a program")?;
        let open = Open {
            name: c"inet_sock_set_state".as_ptr(),
            program: program.as_raw_fd() as u32,
            reserved: 0,
        };
        // SAFETY: as above.
        let link = unsafe { bpf(BPF_RAW_TRACEPOINT_OPEN, &open) };
        Ok(Self {
            _program: program,
            _link: link.context("cannot attach a program")?,
        })
    }
}

/// bpf(2) for a command that answers with a descriptor.
///
/// # Safety
/// `attributes` must be those of the command, and what they point to valid.
unsafe fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the caller's promise; the kernel reads no more than the size.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            size_of::<T>(),
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
