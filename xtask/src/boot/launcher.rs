//! The last step before the image's program, as an engine takes it: another root directory, another directory, another user,
//! and then the program. Pure: an ARM ELF file, made for one program with its arguments and environment.
//!
//! The guest's shell cannot do it: after chroot(2) it is in an image that may hold nothing but the program, and busybox can
//! only become users that /etc/passwd names. Twenty-odd instructions can, and they hand every byte of an argument or a
//! variable through as it is. All of them are ARMv4, and the system calls are Linux' for the ARM EABI (arch/arm/tools/syscall.tbl).

use crate::run::Program;

/// Who runs the program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Supplementary groups.
    pub(super) groups: Vec<u32>,
}

/// Where the file is loaded: where ARM programs have always been.
const ADDRESS: u32 = 0x0001_0000;
const HEADERS: usize = 52 + 32;

// arch/arm/tools/syscall.tbl
const EXECVE: u32 = 11;
const CHDIR: u32 = 12;
const CHROOT: u32 = 61;
const RT_SIGACTION: u32 = 174;
const SETGROUPS32: u32 = 206;
const SETUID32: u32 = 213;
const SETGID32: u32 = 214;

/// Signals that a shell without job control has its background commands ignore.
const IGNORED: [u32; 2] = [2, 3];

/// Words of code; two literals follow, then the table of calls.
const CODE: [u32; 24] = [
    0xE59F_8058, // 00  ldr   r8, [pc, #88]         the table of calls
    0xE8B8_00BF, // 04  ldmia r8!, {r0-r5, r7}      next: arguments, text for a failure and its length
    0xEF00_0000, // 08  svc   #0
    0xE350_0000, // 0c  cmp   r0, #0
    0xAAFF_FFFB, // 10  bge   04                    the last, execve, only returns to say why not
    0xE260_6000, // 14  rsb   r6, r0, #0            errno
    0xE3A0_0002, // 18  mov   r0, #2                write(2, text, length)
    0xE1A0_1004, // 1c  mov   r1, r4
    0xE1A0_2005, // 20  mov   r2, r5
    0xE3A0_7004, // 24  mov   r7, #4
    0xEF00_0000, // 28  svc   #0
    0xE59F_1030, // 2c  ldr   r1, [pc, #48]         the table of numbers, four bytes each
    0xE081_1106, // 30  add   r1, r1, r6, lsl #2
    0xE3A0_0002, // 34  mov   r0, #2                write(2, number of the error, 4)
    0xE3A0_2004, // 38  mov   r2, #4
    0xEF00_0000, // 3c  svc   #0
    0xE3A0_007E, // 40  mov   r0, #126              as a shell: 127 for ENOENT, else 126
    0xE356_0002, // 44  cmp   r6, #2
    0x03A0_007F, // 48  moveq r0, #127
    0xE3A0_7001, // 4c  mov   r7, #1                exit
    0xEF00_0000, // 50  svc   #0
    0xEAFF_FFFE, // 54  b     54
    0xE1A0_0000, // 58  nop, twice: the literals lie at 60
    0xE1A0_0000, // 5c
];

/// Errors of Linux are below this.
const ERRORS: u32 = 134;

/// Bytes and where they will be.
#[derive(Default)]
struct Data {
    bytes: Vec<u8>,
    start: u32,
}

impl Data {
    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn put(&mut self, bytes: &[u8]) -> u32 {
        let at = self.start + self.bytes.len() as u32;
        self.bytes.extend_from_slice(bytes);
        at
    }

    fn text(&mut self, text: &str) -> u32 {
        let at = self.put(text.as_bytes());
        self.bytes.push(0);
        at
    }

    fn words(&mut self, words: &[u32]) -> u32 {
        self.align();
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.put(&bytes)
    }

    /// A NULL-terminated array of strings.
    fn array<'a>(&mut self, texts: impl Iterator<Item = &'a str>) -> u32 {
        let mut pointers: Vec<u32> = texts.map(|text| self.text(text)).collect();
        pointers.push(0);
        self.words(&pointers)
    }
}

/// The ELF file: `root` becomes the root directory, and `path`, inside it, is started as the program says.
///
/// # Errors
/// A NUL in an argument or a variable, which no process can be given.
pub(super) fn launcher(root: &str, path: &str, program: &Program, identity: &Identity) -> Result<Vec<u8>, String> {
    let variables: Vec<String> = program
        .env
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let words = program.argv.iter().chain(&variables);
    if let Some(word) = words.chain([&program.working_dir]).find(|word| word.contains('\0')) {
        return Err(format!("{word:?} has a NUL character"));
    }
    let calls = 4 + IGNORED.len() + 1 + 1;
    let table = HEADERS + CODE.len() * 4 + 8;
    let mut data = Data {
        bytes: Vec::new(),
        start: ADDRESS + (table + calls * 28) as u32,
    };
    let numbers: String = (0..ERRORS).map(|number| format!("{number:03}\n")).collect();
    let numbers = data.put(numbers.as_bytes());
    // struct sigaction of the kernel: handler, flags, restorer, mask of 64 bits; all zero is the default action.
    let default = data.words(&[0; 5]);
    let groups = data.words(&identity.groups);
    let root_at = data.text(root);
    let directory = data.text(&program.working_dir);
    let path_at = data.text(path);
    let arguments = data.array(program.argv.iter().map(String::as_str));
    let environment = data.array(variables.iter().map(String::as_str));
    let mut list: Vec<(u32, [u32; 4], String)> = IGNORED
        .iter()
        .map(|signal| (RT_SIGACTION, [*signal, default, 0, 8], format!("reset signal {signal}")))
        .collect();
    list.extend([
        (CHROOT, [root_at, 0, 0, 0], "change the root directory".to_owned()),
        (
            SETGROUPS32,
            [identity.groups.len() as u32, groups, 0, 0],
            "set the groups".to_owned(),
        ),
        (
            SETGID32,
            [identity.gid, 0, 0, 0],
            format!("become group {}", identity.gid),
        ),
        (
            SETUID32,
            [identity.uid, 0, 0, 0],
            format!("become user {}", identity.uid),
        ),
        (CHDIR, [directory, 0, 0, 0], format!("enter {}", program.working_dir)),
        (EXECVE, [path_at, arguments, environment, 0], format!("start {path}")),
    ]);
    debug_assert_eq!(list.len(), calls);
    let mut rows = Vec::new();
    for (number, [a, b, c, d], what) in list {
        let text = format!("cannot {what}: error ");
        let at = data.put(text.as_bytes());
        rows.extend([a, b, c, d, at, text.len() as u32, number]);
    }
    let mut code = CODE.to_vec();
    code.extend([ADDRESS + table as u32, numbers]);
    code.extend(rows);
    let length = (table + calls * 28 + data.bytes.len()) as u32;
    let mut file = header(length);
    file.extend(code.iter().flat_map(|word| word.to_le_bytes()));
    file.extend(data.bytes);
    Ok(file)
}

/// ELF header (ELFCLASS32, EM_ARM, EABI version 5) and one segment, readable and executable.
fn header(length: u32) -> Vec<u8> {
    let mut file = b"\x7fELF\x01\x01\x01".to_vec();
    file.resize(16, 0);
    for half in [2_u16, 40] {
        file.extend(half.to_le_bytes());
    }
    for word in [1, ADDRESS + HEADERS as u32, 52, 0, 0x0500_0000] {
        file.extend(u32::to_le_bytes(word));
    }
    for half in [52_u16, 32, 1, 0, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    for word in [1, 0, ADDRESS, ADDRESS, length, length, 5, 0x1000] {
        file.extend(u32::to_le_bytes(word));
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> Program {
        Program {
            argv: vec!["server".to_owned(), "a b".to_owned()],
            env: vec![("NAME".to_owned(), "'$x\n".to_owned())],
            working_dir: "/data".to_owned(),
            port: 80,
            admin_port: None,
        }
    }

    #[test]
    fn the_table_lies_where_the_code_looks_for_it() {
        let identity = Identity {
            uid: 65532,
            gid: 7,
            groups: vec![8, 9],
        };
        let file = launcher("/image", "/bin/server", &program(), &identity).unwrap();
        let word = |address: u32| {
            let at = (address - ADDRESS) as usize;
            u32::from_le_bytes(file[at..at + 4].try_into().unwrap())
        };
        let text = |address: u32| {
            let bytes = &file[(address - ADDRESS) as usize..];
            let end = bytes.iter().position(|byte| *byte == 0).unwrap();
            String::from_utf8(bytes[..end].to_vec()).unwrap()
        };
        // pc is two instructions ahead.
        let entry = word(ADDRESS + 24);
        let table = word(entry + 8 + 0x58);
        let numbers = word(entry + 0x2c + 8 + 0x30);
        assert_eq!(&file[(numbers - ADDRESS) as usize..][8..12], b"002\n");
        let row = |index: u32| -> Vec<u32> { (0..7).map(|field| word(table + index * 28 + field * 4)).collect() };
        assert_eq!((row(2)[6], text(row(2)[0])), (CHROOT, "/image".to_owned()));
        assert_eq!((row(3)[0], word(row(3)[1]), word(row(3)[1] + 4)), (2, 8, 9));
        assert_eq!((row(4)[0], row(5)[0]), (7, 65532));
        let start = row(7);
        assert_eq!((start[6], text(start[0])), (EXECVE, "/bin/server".to_owned()));
        assert_eq!(
            (text(word(start[1])), text(word(start[1] + 4)), word(start[1] + 8)),
            ("server".into(), "a b".into(), 0)
        );
        assert_eq!((text(word(start[2])), word(start[2] + 4)), ("NAME='$x\n".to_owned(), 0));
    }

    #[test]
    fn a_nul_is_refused() {
        let mut program = program();
        program.env.push(("X".to_owned(), "a\0b".to_owned()));
        assert!(
            launcher("/", "/x", &program, &Identity::default())
                .unwrap_err()
                .contains("NUL")
        );
    }
}
