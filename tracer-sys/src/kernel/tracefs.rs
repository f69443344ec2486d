//! Reads the `format` files of classic tracepoints, which have the offset of each field. RHEL
//! shifts them, so they are never assumed.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// Where tracefs may be mounted; the second path is the older one.
const TRACEFS_PATHS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// One field of a tracepoint's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    name: String,
    /// Offset in bytes from the start of the record.
    pub offset: u32,
    /// Size in bytes.
    pub size: u32,
}

/// A tracepoint's record has no field of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no field {0}")]
pub struct NoField(pub String);

/// The fields of a tracepoint's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracepointFormat(Vec<Field>);

impl TracepointFormat {
    /// Reads a tracepoint's `format` file, such as `sock/inet_sock_set_state`.
    ///
    /// # Errors
    /// `NotFound` where tracefs is not mounted or has no such tracepoint.
    pub fn read(tracepoint: &str) -> io::Result<Self> {
        let path = mount()?.join("events").join(tracepoint).join("format");
        Ok(Self::parse(&fs::read_to_string(path)?))
    }

    /// Parses the `field:` lines; everything else in the file is for people.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(parse_line).collect())
    }

    /// Returns a field by its name.
    ///
    /// # Errors
    /// [`NoField`], where there is none of that name.
    pub fn field(&self, name: &str) -> Result<&Field, NoField> {
        self.0
            .iter()
            .find(|field| field.name == name)
            .ok_or_else(|| NoField(name.to_owned()))
    }

    /// Returns the size of the whole record in bytes.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.0
            .iter()
            .map(|field| field.offset + field.size)
            .max()
            .unwrap_or(0)
    }
}

fn mount() -> io::Result<PathBuf> {
    let mut error = io::Error::new(
        io::ErrorKind::NotFound,
        format!("tracefs is not mounted at {}", TRACEFS_PATHS[0]),
    );
    for path in TRACEFS_PATHS.iter().map(Path::new) {
        match path.join("events").metadata() {
            Ok(_) => return Ok(path.to_owned()),
            Err(refused) if refused.kind() == io::ErrorKind::PermissionDenied => {
                let what = format!("{} may not be entered", path.display());
                error = io::Error::new(io::ErrorKind::PermissionDenied, what);
            }
            Err(_) => {}
        }
    }
    Err(error)
}

/// `field:__u8 saddr[4]; offset:32; size:4; signed:0;`
fn parse_line(line: &str) -> Option<Field> {
    let mut parts = line.trim().split(';').map(str::trim);
    let declaration = parts.next()?.strip_prefix("field:")?;
    let name = declaration.rsplit([' ', '*']).next()?.split('[').next()?;
    let offset = parts.next()?.strip_prefix("offset:")?.parse().ok()?;
    let size = parts.next()?.strip_prefix("size:")?.parse().ok()?;
    Some(Field {
        name: name.to_owned(),
        offset,
        size,
    })
}

#[cfg(test)]
mod tests {
    use super::{NoField, TracepointFormat};

    const RHEL_FORMAT: &str = "\
name: inet_sock_set_state
ID: 1234
format:
	field:unsigned short common_type;	offset:0;	size:2;	signed:0;
	field:unsigned char common_preempt_lazy_count;	offset:8;	size:1;	signed:0;

	field:const void * skaddr;	offset:16;	size:8;	signed:0;
	field:int oldstate;	offset:24;	size:4;	signed:1;
	field:__u16 protocol;	offset:38;	size:2;	signed:0;
	field:__u8 daddr_v6[16];	offset:64;	size:16;	signed:0;

print fmt: \"family=%s\", REC->family
";

    #[test]
    fn offsets_come_from_the_format_file() {
        let format = TracepointFormat::parse(RHEL_FORMAT);
        assert_eq!(format.field("skaddr").unwrap().offset, 16);
        assert_eq!(format.field("daddr_v6").unwrap().size, 16);
        assert_eq!(format.field("protocol").unwrap().offset, 38);
        assert_eq!(format.size(), 80);
        assert_eq!(format.field("sport"), Err(NoField("sport".to_owned())));
    }
}
