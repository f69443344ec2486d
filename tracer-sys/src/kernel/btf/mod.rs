//! Reads the kernel's own type information (BTF): offsets of structure members, enum names, and
//! which functions exist. Documentation/bpf/btf.rst of the kernel has the format.
//!
//! By hand: btf-rs is under the LGPL, and aya-obj keeps its lookup of members private.

/// Where the kernel publishes its BTF (`CONFIG_DEBUG_INFO_BTF`).
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
/// Length of `struct btf_header`.
const HEADER_LEN: u32 = 24;

const KIND_INT: u32 = 1;
const KIND_PTR: u32 = 2;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_FWD: u32 = 7;
const KIND_TYPEDEF: u32 = 8;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_DECL_TAG: u32 = 17;
const KIND_ENUM64: u32 = 19;
/// The most members that are visited for one path: many times what the kernel's largest structures
/// have. Structures that contain themselves would never be done.
const MAX_VISITED_MEMBERS: u32 = 8_192;
/// The number of kinds that the five bits of a type can express.
const KIND_COUNT: usize = 32;
/// Kinds that only lead to another type (`btf_type_is_modifier` of kernel/bpf/btf.c): typedef,
/// volatile, const, restrict, type tag.
const MODIFIER_KINDS: [u32; 5] = [KIND_TYPEDEF, 9, 10, 11, 18];

/// What is wrong with the BTF, or missing in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BtfError {
    /// The bytes are no BTF of this machine's byte order, or are cut off.
    #[error("the kernel's BTF ({VMLINUX}) cannot be read: {0}")]
    Malformed(&'static str),
    /// The kernel has no such type.
    #[error("the kernel's BTF has no type {0}")]
    NoType(String),
    /// The structure has no such member.
    #[error("the kernel's struct {structure} has no member {member}")]
    NoMember {
        /// Name of the structure.
        structure: String,
        /// Name of the member that was wanted.
        member: String,
    },
    /// A member is not where a program is compiled to find it.
    #[error(
        "the kernel's struct {structure} has {member} at byte {found}, and the eBPF program expects it at {expected}"
    )]
    UnexpectedOffset {
        /// Name of the structure.
        structure: String,
        /// Name of the member.
        member: String,
        /// The offset that the program is compiled with.
        expected: u32,
        /// Its offset in this kernel.
        found: u32,
    },
}

/// The kernel's BTF, indexed once.
pub struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Byte offset of each type; type 0 is `void`.
    starts: Vec<u32>,
    /// The types of each kind.
    by_kind: [Vec<u32>; KIND_COUNT],
}

#[derive(Clone, Copy)]
struct Type<'a> {
    name: u32,
    kind: u32,
    /// Whether member offsets carry a bit-field size in their upper byte.
    kind_flag: bool,
    /// Size, or the id of the type it refers to.
    size_or_type: u32,
    vlen: usize,
    /// What follows the fixed twelve bytes.
    rest: &'a [u8],
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(
        bytes.get(at..at.checked_add(4)?)?.try_into().ok()?,
    ))
}

impl<'a> Btf<'a> {
    /// Indexes raw BTF, as [`VMLINUX`] holds it.
    ///
    /// # Errors
    /// [`BtfError::Malformed`] when the bytes are not whole.
    pub fn parse(data: &'a [u8]) -> Result<Self, BtfError> {
        const TRUNCATED: BtfError = BtfError::Malformed("it is cut off");
        if data.get(..2) != Some(MAGIC.to_ne_bytes().as_slice()) {
            return Err(BtfError::Malformed("it has no BTF magic"));
        }
        let section = |field: usize| -> Option<&'a [u8]> {
            let header = read_u32(data, 4)? as usize;
            let start = header.checked_add(read_u32(data, field)? as usize)?;
            data.get(start..start.checked_add(read_u32(data, field + 4)? as usize)?)
        };
        let (types, strings) = (section(8).ok_or(TRUNCATED)?, section(16).ok_or(TRUNCATED)?);
        let mut btf = Self {
            types,
            strings,
            starts: vec![0],
            by_kind: Default::default(),
        };
        let mut at = 0;
        while at < types.len() {
            let found = btf.type_at(at).ok_or(TRUNCATED)?;
            btf.by_kind[found.kind as usize].push(btf.starts.len() as u32);
            btf.starts.push(at as u32);
            at += 12 + found.rest.len();
        }
        Ok(btf)
    }

    fn type_at(&self, at: usize) -> Option<Type<'a>> {
        let info = read_u32(self.types, at + 4)?;
        let (kind, vlen) = ((info >> 24) & 0x1f, (info & 0xffff) as usize);
        let rest = match kind {
            KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
            KIND_ARRAY => 12,
            KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => 12 * vlen,
            KIND_ENUM | KIND_FUNC_PROTO => 8 * vlen,
            _ => 0,
        };
        Some(Type {
            name: read_u32(self.types, at)?,
            kind,
            kind_flag: info >> 31 != 0,
            size_or_type: read_u32(self.types, at + 8)?,
            vlen,
            rest: self.types.get(at + 12..at + 12 + rest)?,
        })
    }

    fn by_id(&self, id: u32) -> Option<Type<'a>> {
        if id == 0 {
            return None;
        }
        self.type_at(*self.starts.get(id as usize)? as usize)
    }

    fn name_is(&self, name: u32, wanted: &str) -> bool {
        self.strings
            .get(name as usize..)
            .and_then(|rest| rest.strip_prefix(wanted.as_bytes()))
            .is_some_and(|rest| rest.first() == Some(&0))
    }

    fn is_anonymous(&self, name: u32) -> bool {
        self.strings
            .get(name as usize)
            .is_none_or(|&byte| byte == 0)
    }

    fn string(&self, at: u32) -> &'a str {
        let rest = self.strings.get(at as usize..).unwrap_or_default();
        let end = rest
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(rest.len());
        str::from_utf8(&rest[..end]).unwrap_or_default()
    }

    fn find(&self, kinds: &[u32], name: &str) -> Option<Type<'a>> {
        self.by_id(self.find_id(kinds, name)?)
    }

    fn find_id(&self, kinds: &[u32], name: &str) -> Option<u32> {
        let mut ids = kinds.iter().flat_map(|kind| &self.by_kind[*kind as usize]);
        let is_it = |id: &&u32| {
            self.by_id(**id)
                .is_some_and(|found| self.name_is(found.name, name))
        };
        ids.find(is_it).copied()
    }

    /// Finds a structure, of which several members are wanted.
    ///
    /// # Errors
    /// When there is no such structure.
    pub fn structure(&self, name: &'a str) -> Result<Structure<'_, 'a>, BtfError> {
        let found = self
            .find(&[KIND_STRUCT, KIND_UNION], name)
            .ok_or_else(|| BtfError::NoType(format!("struct {name}")))?;
        Ok(Structure {
            btf: self,
            name,
            found,
        })
    }

    /// Returns the offset in bytes of one member, as [`Structure::offset`] does.
    ///
    /// # Errors
    /// As [`Self::structure`] and [`Structure::offset`].
    pub fn offset(&self, structure: &'a str, path: &str) -> Result<u32, BtfError> {
        self.structure(structure)?.offset(path)
    }

    /// Returns the offset in bits and the type of a member, also of anonymous structures inside.
    /// At most `visits_left` more members are visited.
    fn member(
        &self,
        structure: Type<'a>,
        name: &str,
        depth: u32,
        visits_left: &mut u32,
    ) -> Option<(u32, u32)> {
        // The kernel nests a few levels; a cycle would be malformed data.
        if depth > 16 || !matches!(structure.kind, KIND_STRUCT | KIND_UNION) {
            return None;
        }
        (0..structure.vlen).find_map(|index| {
            *visits_left = visits_left.checked_sub(1)?;
            let entry = structure.rest.get(12 * index..12 * (index + 1))?;
            let (member, kind) = (read_u32(entry, 0)?, read_u32(entry, 4)?);
            let raw = read_u32(entry, 8)?;
            let bits = if structure.kind_flag {
                raw & 0x00ff_ffff
            } else {
                raw
            };
            if self.is_anonymous(member) {
                let (inner, kind) =
                    self.member(self.resolve(kind)?, name, depth + 1, visits_left)?;
                return Some((bits.checked_add(inner)?, kind));
            }
            self.name_is(member, name).then_some((bits, kind))
        })
    }

    /// Follows typedefs and qualifiers, not pointers.
    fn resolve(&self, id: u32) -> Option<Type<'a>> {
        let mut found = self.by_id(id)?;
        for _ in 0..16 {
            if !MODIFIER_KINDS.contains(&found.kind) {
                return Some(found);
            }
            found = self.by_id(found.size_or_type)?;
        }
        None
    }

    /// Returns whether the kernel has a function of this name, static or not.
    #[must_use]
    pub fn has_function(&self, name: &str) -> bool {
        self.find(&[KIND_FUNC], name).is_some()
    }

    /// Returns how many arguments a raw tracepoint passes to a `tp_btf` program; `None` where the
    /// kernel has no such tracepoint.
    #[must_use]
    pub fn tracepoint_arguments(&self, tracepoint: &str) -> Option<usize> {
        let typedef = self.find(&[KIND_TYPEDEF], &format!("btf_trace_{tracepoint}"))?;
        let mut prototype = self.resolve(typedef.size_or_type)?;
        if prototype.kind == KIND_PTR {
            prototype = self.resolve(prototype.size_or_type)?;
        }
        // The first argument is the tracepoint's own data pointer, which programs do not get.
        (prototype.kind == KIND_FUNC_PROTO).then(|| prototype.vlen.saturating_sub(1))
    }

    /// Returns the values and names of an enum; none where the kernel has no such enum.
    #[must_use]
    pub fn enum_names(&self, name: &str) -> Vec<(u32, &'a str)> {
        let Some(found) = self.find(&[KIND_ENUM], name) else {
            return Vec::new();
        };
        (0..found.vlen)
            .filter_map(|index| {
                let entry = found.rest.get(8 * index..)?;
                Some((read_u32(entry, 4)?, self.string(read_u32(entry, 0)?)))
            })
            .collect()
    }

    /// Makes the part of the kernel's BTF that aya needs: the numbers of these functions and
    /// typedefs. Of all other types it needs only the count. aya takes 25 ms to read all of the
    /// kernel's BTF, and 2 for this.
    ///
    /// # Errors
    /// When aya cannot read it.
    pub fn for_aya(&self, names: &[&str]) -> Result<aya::Btf, aya::BtfError> {
        aya::Btf::parse(&self.reduced_to(names), aya::Endianness::default())
    }

    /// Makes BTF in which these functions and typedefs have the numbers that they have here, and
    /// nothing else has a name.
    fn reduced_to(&self, names: &[&str]) -> Vec<u8> {
        /// A forward declaration: the shortest of all types.
        const ANONYMOUS_TYPE: [u32; 3] = [0, KIND_FWD << 24, 0];
        let (mut types, mut strings) = (Vec::new(), vec![0]);
        for name in names {
            let Some(id) = self.find_id(&[KIND_FUNC, KIND_TYPEDEF], name) else {
                continue;
            };
            let Some(found) = self.by_id(id) else {
                continue;
            };
            types.resize(types.len().max(id as usize), ANONYMOUS_TYPE);
            types[id as usize - 1] = [strings.len() as u32, found.kind << 24, 0];
            strings.extend_from_slice(name.as_bytes());
            strings.push(0);
        }
        let types: &[u8] = bytemuck::cast_slice(&types);
        let (length, strings_length) = (types.len() as u32, strings.len() as u32);
        let mut btf = MAGIC.to_ne_bytes().to_vec();
        btf.extend([1, 0]);
        for word in [HEADER_LEN, 0, length, length, strings_length] {
            btf.extend(word.to_ne_bytes());
        }
        btf.extend(types);
        btf.extend(strings);
        btf
    }
}

/// A structure of the kernel.
#[derive(Clone, Copy)]
pub struct Structure<'b, 'a> {
    btf: &'b Btf<'a>,
    name: &'a str,
    found: Type<'a>,
}

impl Structure<'_, '_> {
    /// Returns the offset in bytes of a member, from the start of the structure. `path` may lead
    /// through embedded structures (`sk_lock.owned`); members of anonymous ones are found, too.
    ///
    /// # Errors
    /// When there is no such member, or it is a bit-field that starts inside a byte.
    pub fn offset(&self, path: &str) -> Result<u32, BtfError> {
        match self.bit_offset(path)? {
            (offset, 0) => Ok(offset),
            _ => Err(self.no_member(path)),
        }
    }

    /// Checks that a member is where a program is compiled to find it.
    ///
    /// # Errors
    /// As [`Self::offset`], and where the member is elsewhere.
    pub fn check_offset(&self, path: &str, expected: u32) -> Result<(), BtfError> {
        match self.offset(path)? {
            found if found == expected => Ok(()),
            found => Err(BtfError::UnexpectedOffset {
                structure: self.name.into(),
                member: path.into(),
                expected,
                found,
            }),
        }
    }

    /// Returns, for a bit field, the byte that its lowest bit is in, and which of that byte's bits
    /// it is (on little-endian machines).
    ///
    /// # Errors
    /// When there is no such member.
    pub fn bit_offset(&self, path: &str) -> Result<(u32, u32), BtfError> {
        let mut current = self.found;
        let mut bits = 0_u32;
        let mut visits_left = MAX_VISITED_MEMBERS;
        for name in path.split('.') {
            let member = self.btf.member(current, name, 0, &mut visits_left);
            let (at, kind) = member.ok_or_else(|| self.no_member(path))?;
            bits = bits.checked_add(at).ok_or_else(|| self.no_member(path))?;
            if let Some(inner) = self.btf.resolve(kind) {
                current = inner;
            }
        }
        Ok((bits / 8, bits % 8))
    }

    fn no_member(&self, path: &str) -> BtfError {
        BtfError::NoMember {
            structure: self.name.into(),
            member: path.into(),
        }
    }
}

#[cfg(test)]
mod tests;
