//! Plain text as Markdown that reads the same: what would act as a mark is escaped (CommonMark 0.31, section 2.4).
//! Addresses and hashtags stay as they are, because they are to act.

/// Escapes what is not meant as a mark.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for (number, line) in text.split('\n').enumerate() {
        if number > 0 {
            out.push('\n');
        }
        escape_line(&mut out, line);
    }
    out
}

fn escape_line(out: &mut String, line: &str) {
    // Four spaces would make code of it.
    let text = line.trim_start_matches([' ', '\t']);
    let indent = line.len() - text.len();
    out.push_str(&" ".repeat(indent.min(3)));
    let text = match opening(text) {
        0 => text,
        // `>`, `- `, `# `: an escape in front. `1. `: in front of the dot.
        length => {
            let (before, mark) = text.split_at(length - 1);
            out.push_str(before);
            out.push('\\');
            let mark_length = mark.chars().next().map_or(0, char::len_utf8);
            out.push_str(&mark[..mark_length]);
            &mark[mark_length..]
        }
    };
    let mut before = '\n';
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let whole = untouched(rest, before);
        if whole > 0 {
            out.push_str(&rest[..whole]);
            before = rest[..whole].chars().next_back().unwrap_or(before);
            rest = &rest[whole..];
            continue;
        }
        let behind = &rest[c.len_utf8()..];
        let next = behind.chars().next().unwrap_or('\n');
        let acts = match c {
            '\\' | '*' | '`' | '[' | ']' => true,
            // Inside a word it is no mark.
            '_' => !(before.is_alphanumeric() && next.is_alphanumeric()),
            '~' => before == '~' || next == '~',
            '<' => next.is_ascii_alphabetic() || matches!(next, '/' | '!' | '?'),
            '&' => is_reference(behind),
            '|' => true,
            _ => false,
        };
        if acts {
            out.push('\\');
        }
        out.push(c);
        before = c;
        rest = behind;
    }
}

/// How many bytes at the beginning of a line open a block, the last of them being the one to escape; 0 when none do.
fn opening(text: &str) -> usize {
    let bytes = text.as_bytes();
    let ends = |at: usize| bytes.get(at).is_none_or(|byte| matches!(byte, b' ' | b'\t'));
    let only = |mark: u8| !bytes.is_empty() && text.trim_end().bytes().all(|byte| byte == mark || byte == b' ');
    match bytes.first() {
        Some(b'>') => 1,
        Some(b'+' | b'-') if ends(1) => 1,
        // A line of these makes a heading of the one above, or a rule.
        Some(b'-') if only(b'-') => 1,
        Some(b'=') if only(b'=') => 1,
        Some(b'#') => {
            let count = bytes.iter().take_while(|byte| **byte == b'#').count();
            if count <= 6 && ends(count) { 1 } else { 0 }
        }
        Some(b'0'..=b'9') => {
            let count = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let dot = matches!(bytes.get(count), Some(b'.' | b')'));
            if dot && count <= 9 && ends(count + 1) {
                count + 1
            } else {
                0
            }
        }
        _ => 0,
    }
}

/// The length of the address or hashtag that `text` begins with; 0 when it begins with neither.
fn untouched(text: &str, before: char) -> usize {
    let bytes = text.as_bytes();
    let is = |scheme: &str| {
        bytes
            .get(..scheme.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(scheme.as_bytes()))
    };
    if (is("https://") || is("http://")) && !before.is_ascii_alphanumeric() {
        let ends = |byte: &u8| !byte.is_ascii_graphic() || matches!(byte, b'<' | b'>' | b'"' | b'`' | b'\\' | b'|');
        return bytes.iter().position(ends).unwrap_or(bytes.len());
    }
    let sign = text.chars().next().filter(|c| matches!(c, '#' | '＃'));
    match sign {
        Some(sign) if !(before.is_alphanumeric() || before == '_') => {
            let name = &text[sign.len_utf8()..];
            let word = |c: char| c.is_alphanumeric() || c == '_';
            let length = name.find(|c| !word(c)).unwrap_or(name.len());
            if length > 0 { sign.len_utf8() + length } else { 0 }
        }
        _ => 0,
    }
}

/// Whether what follows a `&` makes a character reference of it.
fn is_reference(behind: &str) -> bool {
    let Some(end) = behind.find(';') else {
        return false;
    };
    let name = behind[..end].strip_prefix('#').unwrap_or(&behind[..end]);
    (1..=32).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_escaped_where_they_would_act() {
        for (text, markdown) in [
            ("plain, 普通。", "plain, 普通。"),
            ("*a* _b_ snake_case `c`", "\\*a\\* \\_b\\_ snake_case \\`c\\`"),
            ("# no\n## no\n#tag_a #b_", "\\# no\n\\## no\n#tag_a #b_"),
            (
                "> q\n- a\n+ b\n-1\n1. c\n12) d\n1.5",
                "\\> q\n\\- a\n\\+ b\n-1\n1\\. c\n12\\) d\n1.5",
            ),
            ("a\n---\nb\n===", "a\n\\---\nb\n\\==="),
            ("[x](y) ![z]", "\\[x\\](y) !\\[z\\]"),
            (
                "https://a.b/_c_*d*?e=[f]&lt;_ _x_",
                "https://a.b/_c_*d*?e=[f]&lt;_ \\_x\\_",
            ),
            ("<b> <3 a<b &lt; & &amp", "\\<b> <3 a\\<b \\&lt; & &amp"),
            ("10~20 ~~x~~", "10~20 \\~\\~x\\~\\~"),
            ("        far", "   far"),
            ("a\\b |c|", "a\\\\b \\|c\\|"),
        ] {
            assert_eq!(escape(text), markdown, "{text}");
        }
    }
}
