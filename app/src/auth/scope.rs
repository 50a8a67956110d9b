//! What a token of a program may do.

/// One right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Create,
    Update,
    Delete,
    Media,
    Read,
}

impl Scope {
    pub const ALL: [Self; 5] = [Self::Create, Self::Update, Self::Delete, Self::Media, Self::Read];

    /// As Micropub names it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Media => "media",
            Self::Read => "read",
        }
    }
}

/// Several rights; in the database their words with single spaces between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    pub fn parse(text: &str) -> Self {
        let has = |scope: &Scope| text.split(' ').any(|word| word == scope.word());
        Self(Scope::ALL.into_iter().filter(has).collect())
    }

    pub fn text(&self) -> String {
        let words: Vec<_> = self.0.iter().map(|scope| scope.word()).collect();
        words.join(" ")
    }

    pub fn has(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_back() {
        let scopes = Scopes::parse("read create nonsense");
        assert_eq!(scopes.text(), "create read");
        assert!(scopes.has(Scope::Read) && !scopes.has(Scope::Delete));
        assert!(Scopes::parse("Create").is_empty());
    }
}
