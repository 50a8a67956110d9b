//! Makes small ELF files, byte by byte, so that one thing at a time can be wrong in them.

/// Everything that a test may want to set.
#[derive(Clone, Debug)]
pub struct Builder {
    pub wide: bool,
    pub big: bool,
    pub machine: u16,
    pub kind: u16,
    pub flags: u32,
    pub interpreter: Option<String>,
    /// How many `PT_INTERP` segments name it.
    pub interpreters: usize,
    pub needed: Vec<String>,
    /// Further dynamic entries whose value is a string.
    pub other: Vec<(u64, String)>,
    /// Further dynamic entries; `None` when there is no dynamic segment unless strings ask for one.
    pub dynamic: Option<Vec<(u64, u64)>>,
    pub versions: Vec<(String, Vec<String>)>,
    /// Flags of `PT_GNU_STACK`.
    pub stack: Option<u32>,
    pub attributes: Option<Vec<u8>>,
}

const BASE: u64 = 0x10000;

impl Builder {
    /// A static program for the Pi Zero.
    pub fn v6() -> Self {
        Builder {
            wide: false,
            big: false,
            machine: 40,
            kind: 2,
            flags: 0x0500_0400,
            interpreter: None,
            interpreters: 1,
            needed: Vec::new(),
            other: Vec::new(),
            dynamic: None,
            versions: Vec::new(),
            stack: Some(6),
            attributes: Some(Tags::v6().section()),
        }
    }

    /// A dynamically linked program for Raspbian.
    pub fn v6_glibc() -> Self {
        let mut elf = Builder::v6();
        elf.interpreter = Some("/lib/ld-linux-armhf.so.3".into());
        elf.needed.push("libc.so.6".into());
        elf.version("libc.so.6", "GLIBC_2.4");
        elf
    }

    /// A dynamically linked program for Debian armel.
    pub fn v6_armel() -> Self {
        let mut elf = Builder::v6_glibc();
        elf.flags = 0x0500_0200;
        elf.interpreter = Some("/lib/ld-linux.so.3".into());
        elf.attributes = Some(Tags::default().number(6, 6).number(10, 2).section());
        elf
    }

    /// A static program for a PC.
    pub fn amd64() -> Self {
        let mut elf = Builder::v6();
        elf.wide = true;
        elf.machine = 62;
        elf.flags = 0;
        elf.attributes = None;
        elf
    }

    /// Needs `version` of `library`.
    pub fn version(&mut self, library: &str, version: &str) {
        match self.versions.iter_mut().find(|(name, _)| name == library) {
            Some((_, versions)) => versions.push(version.to_owned()),
            None => self.versions.push((library.to_owned(), vec![version.to_owned()])),
        }
    }

    fn number(&self, size: usize, value: u64) -> Vec<u8> {
        let bytes = value.to_be_bytes();
        let mut bytes = bytes[8 - size..].to_vec();
        if !self.big {
            bytes.reverse();
        }
        bytes
    }

    fn half(&self, value: u64) -> Vec<u8> {
        self.number(2, value)
    }

    fn word(&self, value: u64) -> Vec<u8> {
        self.number(4, value)
    }

    /// An address, or whatever else is as wide as the class.
    fn native(&self, value: u64) -> Vec<u8> {
        self.number(if self.wide { 8 } else { 4 }, value)
    }

    fn segment(&self, kind: u64, flags: u64, offset: u64, size: u64) -> Vec<u8> {
        let address = if kind == 0x6474_e551 { 0 } else { BASE + offset };
        let (start, length) = (self.native(offset), self.native(size));
        let addresses = [self.native(address), self.native(address)].concat();
        let sizes = [length.clone(), length].concat();
        let align = self.native(4);
        if self.wide {
            [self.word(kind), self.word(flags), start, addresses, sizes, align].concat()
        } else {
            [self.word(kind), start, addresses, sizes, self.word(flags), align].concat()
        }
    }

    fn section(&self, kind: u64, offset: u64, size: u64) -> Vec<u8> {
        [
            self.word(0),
            self.word(kind),
            self.native(0),
            self.native(0),
            self.native(offset),
            self.native(size),
            self.word(0),
            self.word(0),
            self.native(1),
            self.native(0),
        ]
        .concat()
    }

    /// The file.
    pub fn build(&self) -> Vec<u8> {
        let (header_size, segment_size, section_size) = if self.wide { (64, 56, 64) } else { (52, 32, 40) };
        let mut strings = vec![0u8];
        let mut string = |text: &str| {
            let at = strings.len() as u64;
            strings.extend(text.as_bytes());
            strings.push(0);
            at
        };
        let mut entries: Vec<(u64, u64)> = self.dynamic.clone().unwrap_or_default();
        entries.extend(self.needed.iter().map(|name| (1, string(name))));
        entries.extend(self.other.iter().map(|(tag, name)| (*tag, string(name))));
        let mut needs = Vec::new();
        for (index, (library, versions)) in self.versions.iter().enumerate() {
            let last = index + 1 == self.versions.len();
            let next = if last { 0 } else { 16 + 16 * versions.len() as u64 };
            needs.extend(
                [
                    self.half(1),
                    self.half(versions.len() as u64),
                    self.word(string(library)),
                ]
                .concat(),
            );
            needs.extend([self.word(16), self.word(next)].concat());
            for (index, version) in versions.iter().enumerate() {
                let next = if index + 1 == versions.len() { 0 } else { 16 };
                needs.extend([self.word(0), self.half(0), self.half(2)].concat());
                needs.extend([self.word(string(version)), self.word(next)].concat());
            }
        }
        let has_dynamic = self.dynamic.is_some() || !entries.is_empty() || !needs.is_empty();
        let interpreters: Vec<&String> = self.interpreter.iter().cycle().take(self.interpreters).collect();
        let count = 1 + interpreters.len() + usize::from(has_dynamic) + usize::from(self.stack.is_some());
        let mut body: Vec<u8> = Vec::new();
        let start = header_size + segment_size * count as u64;
        let mut put = |bytes: &[u8]| {
            body.resize(body.len().next_multiple_of(8), 0);
            let at = start.next_multiple_of(8) - start + body.len() as u64 + start;
            body.extend(bytes);
            at
        };
        let mut segments: Vec<Vec<u8>> = Vec::new();
        for path in interpreters {
            let bytes = [path.as_bytes(), &[0]].concat();
            segments.push(self.segment(3, 4, put(&bytes), bytes.len() as u64));
        }
        if has_dynamic {
            let table = put(&strings);
            entries.extend([(5, BASE + table), (10, strings.len() as u64)]);
            if !needs.is_empty() {
                let at = put(&needs);
                entries.extend([(0x6fff_fffe, BASE + at), (0x6fff_ffff, self.versions.len() as u64)]);
            }
            entries.push((0, 0));
            let bytes: Vec<u8> = entries
                .iter()
                .flat_map(|(tag, value)| [self.native(*tag), self.native(*value)].concat())
                .collect();
            segments.push(self.segment(2, 6, put(&bytes), bytes.len() as u64));
        }
        if let Some(flags) = self.stack {
            segments.push(self.segment(0x6474_e551, flags.into(), 0, 0));
        }
        let mut sections: Vec<Vec<u8>> = Vec::new();
        if let Some(bytes) = &self.attributes {
            let at = put(bytes);
            let names = put(&[0]);
            sections.push(self.section(0, 0, 0));
            sections.push(self.section(0x7000_0003, at, bytes.len() as u64));
            sections.push(self.section(3, names, 1));
        }
        let table = if sections.is_empty() {
            0
        } else {
            put(&sections.concat())
        };
        let size = start.next_multiple_of(8) + body.len() as u64;
        segments.insert(0, self.segment(1, 5, 0, size));
        let mut file = vec![
            0x7f,
            b'E',
            b'L',
            b'F',
            1 + u8::from(self.wide),
            1 + u8::from(self.big),
            1,
        ];
        file.resize(16, 0);
        file.extend(
            [
                self.half(self.kind.into()),
                self.half(self.machine.into()),
                self.word(1),
            ]
            .concat(),
        );
        file.extend([self.native(BASE), self.native(header_size), self.native(table)].concat());
        file.extend(self.word(self.flags.into()));
        file.extend(
            [
                self.half(header_size),
                self.half(segment_size),
                self.half(segments.len() as u64),
            ]
            .concat(),
        );
        file.extend([self.half(section_size), self.half(sections.len() as u64)].concat());
        file.extend(self.half(sections.len().saturating_sub(1) as u64));
        file.extend(segments.concat());
        file.resize(file.len().next_multiple_of(8), 0);
        file.extend(body);
        file
    }
}

/// Makes the content of `.ARM.attributes`, little endian unless said otherwise.
#[derive(Clone, Debug, Default)]
pub struct Tags {
    done: Vec<(u8, Vec<u8>, Vec<u8>)>,
    current: Vec<u8>,
    scope: Option<(u8, Vec<u8>)>,
}

impl Tags {
    /// What a compiler writes for `-mcpu=arm1176jzf-s`, without the tags that the tests set.
    pub fn v6() -> Self {
        let tags = Tags::default().text(67, "2.09").text(5, "arm1176jzf-s");
        tags.number(6, 7).number(8, 1).number(9, 1).number(10, 2).number(28, 1)
    }

    fn uleb(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.current.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.current.push(value as u8);
    }

    /// A number. A tag that stands already gets a second value: both count.
    pub fn number(mut self, tag: u64, value: u64) -> Self {
        self.uleb(tag);
        self.uleb(value);
        self
    }

    pub fn text(mut self, tag: u64, text: &str) -> Self {
        self.uleb(tag);
        self.current.extend(text.as_bytes());
        self.current.push(0);
        self
    }

    pub fn compatibility(mut self, flag: u64, vendor: &str) -> Self {
        self.uleb(32);
        self.uleb(flag);
        self.current.extend(vendor.as_bytes());
        self.current.push(0);
        self
    }

    /// Ends the group and begins one for sections (2) or symbols (3).
    pub fn scope(mut self, kind: u8, indices: &[u8]) -> Self {
        let (before, list) = self.scope.take().unwrap_or((1, Vec::new()));
        self.done.push((before, list, std::mem::take(&mut self.current)));
        self.scope = Some((kind, indices.to_vec()));
        self
    }

    fn groups(self) -> Vec<(u8, Vec<u8>, Vec<u8>)> {
        let mut groups = self.done;
        let (kind, list) = self.scope.unwrap_or((1, Vec::new()));
        groups.push((kind, list, self.current));
        groups
    }

    /// The section.
    pub fn section(self) -> Vec<u8> {
        self.section_in(u32::to_le_bytes)
    }

    /// The section, with lengths in a byte order.
    pub fn section_in(self, order: fn(u32) -> [u8; 4]) -> Vec<u8> {
        let mut groups = Vec::new();
        for (kind, list, attributes) in self.groups() {
            groups.push(kind);
            groups.extend(order((5 + list.len() + attributes.len()) as u32));
            groups.extend(list);
            groups.extend(attributes);
        }
        let mut section = vec![b'A'];
        section.extend(order((4 + 6 + groups.len()) as u32));
        section.extend(b"aeabi\0");
        section.extend(groups);
        section
    }
}
