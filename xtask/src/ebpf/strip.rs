//! Takes the debug information out of an eBPF object: five sixths of it, and nobody reads it. BTF
//! was made from it and stays.

use anyhow::Result;
use object::{
    build::elf::{Builder, SectionData},
    elf::SHT_STRTAB,
};

/// Debug information, and the relocations for linking the object to another.
const DELETED: [&[u8]; 3] = [b".debug_", b".rel.debug_", b".rel.BTF"];

/// Returns the object without debug information.
pub fn without_debug_info(object: &[u8]) -> Result<Vec<u8>> {
    let mut elf = Builder::read(object)?;
    for section in &mut elf.sections {
        let name = section.name.as_slice();
        section.delete = DELETED.iter().any(|prefix| name.starts_with(prefix));
    }
    elf.delete_orphans();
    // LLVM writes the names of sections and symbols into one table, and the builder takes that for
    // the symbols'.
    let names = elf.sections.add();
    names.name = ".shstrtab".into();
    names.sh_type = SHT_STRTAB;
    names.data = SectionData::SectionString;
    let mut bytes = Vec::new();
    elf.write(&mut bytes)?;
    Ok(bytes)
}
