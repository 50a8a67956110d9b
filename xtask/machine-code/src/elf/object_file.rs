//! What an object file wants of others, and what it has under a name: for members of a static library.

use object::{Object, ObjectSection, ObjectSymbol};

/// Names that the file uses and does not define.
///
/// # Errors
/// When it cannot be read, in words.
pub fn undefined(bytes: &[u8]) -> Result<Vec<String>, String> {
    let file = object::File::parse(bytes).map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    for symbol in file.symbols().filter(|symbol| symbol.is_undefined()) {
        let name = symbol.name().map_err(|error| error.to_string())?;
        if !name.is_empty() {
            found.push(name.to_owned());
        }
    }
    Ok(found)
}

/// The text that lies under a name, up to its NUL; `None` when the file does not define it, or what is there is no such text.
pub fn text_of(bytes: &[u8], name: &str) -> Option<String> {
    let file = object::File::parse(bytes).ok()?;
    let symbol = file
        .symbols()
        .find(|symbol| symbol.is_definition() && symbol.name() == Ok(name))?;
    let section = file.section_by_index(symbol.section_index()?).ok()?;
    // In a relocatable file addresses begin at the section.
    let at = usize::try_from(symbol.address().checked_sub(section.address())?).ok()?;
    let text = section.data().ok()?.get(at..)?.split(|byte| *byte == 0).next()?;
    String::from_utf8(text.to_vec()).ok()
}
