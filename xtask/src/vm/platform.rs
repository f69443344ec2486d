//! The machines that qemu plays, one for each architecture.

use std::path::Path;

use crate::arch::Arch;

/// What differs between architectures.
pub struct Platform {
    /// qemu's program.
    pub program: &'static str,
    /// Debian's package that has it. It is only unpacked: installed, it would take the place of
    /// another version's qemu-utils.
    pub package: &'static str,
    /// The board.
    board: &'static [&'static str],
    /// The processor, as an emulated one.
    processor: &'static str,
    /// The port for the kernel's messages, as the machine names it.
    console: &'static str,
    /// The port for results alone.
    results: &'static str,
}

impl Platform {
    /// Returns the machine of an architecture.
    pub fn for_arch(arch: Arch) -> Self {
        match arch {
            Arch::X86_64 => Self {
                program: "qemu-system-x86_64",
                package: "qemu-system-x86",
                board: &[],
                processor: "max",
                console: "ttyS0",
                results: "ttyS1",
            },
            Arch::Aarch64 => Self {
                program: "qemu-system-aarch64",
                package: "qemu-system-arm",
                board: &["-machine", "virt,gic-version=3"],
                // Signing pointers as the processor really does is most of what emulation does.
                processor: "max,pauth-impdef=on",
                console: "ttyAMA0",
                results: "ttyS0",
            },
        }
    }

    /// qemu's arguments for the processor and the board.
    pub fn machine(&self, is_emulated: bool) -> Vec<&'static str> {
        let processor = if is_emulated { self.processor } else { "max" };
        let mut arguments = self.board.to_vec();
        arguments.extend(["-cpu", processor]);
        arguments
    }

    /// qemu's arguments for the ports and the files that they write to.
    pub fn ports(&self, console: &Path, results: &Path) -> Vec<String> {
        let mut arguments = vec!["-serial".to_owned(), format!("file:{}", console.display())];
        if self.board.is_empty() {
            arguments.extend(["-serial".to_owned(), format!("file:{}", results.display())]);
        } else {
            // The board has one port only.
            let path = results.display().to_string().replace(',', ",,");
            arguments.extend([
                "-chardev".to_owned(),
                format!("file,id=results,path={path}"),
                "-device".to_owned(),
                "pci-serial,chardev=results".to_owned(),
            ]);
        }
        arguments
    }

    /// The kernel's command line. What it does not know itself it hands to init as a variable.
    pub fn kernel_arguments(&self) -> String {
        format!(
            "console={} loglevel=5 panic=-1 RESULTS=/dev/{}",
            self.console, self.results
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(arch: Arch) -> String {
        let ports =
            Platform::for_arch(arch).ports(Path::new("/vm/console"), Path::new("/a,b/results"));
        ports.join(" ")
    }

    #[test]
    fn results_and_messages_of_the_kernel_go_to_files_of_their_own() {
        assert_eq!(
            ports(Arch::X86_64),
            "-serial file:/vm/console -serial file:/a,b/results"
        );
        assert_eq!(
            ports(Arch::Aarch64),
            "-serial file:/vm/console -chardev file,id=results,path=/a,,b/results \
             -device pci-serial,chardev=results"
        );
    }

    #[test]
    fn only_an_emulated_processor_signs_pointers_cheaply() {
        let arm = Platform::for_arch(Arch::Aarch64);
        assert!(arm.machine(true).contains(&"max,pauth-impdef=on"));
        assert!(arm.machine(false).ends_with(&["-cpu", "max"]));
    }
}
