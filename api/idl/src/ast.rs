// SPDX-License-Identifier: Apache-2.0
//! What an `.api` file says, as it says it.

use weft_words::Span;

/// A name and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    pub text: String,
    pub span: Span,
}

/// A number, word or text after `=`.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Integer(i128),
    Float(f64),
    Word(String),
    Text(String),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Statement {
    Option(Setting),
    Import(Import),
    Enum(Enum),
    Alias(Alias),
    Struct(Struct),
    Message(Message),
    Service(Vec<Rpc>),
}

/// `option NAME = VALUE;`, or `option NAME;` in a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    pub name: Name,
    pub value: Option<Value>,
}

/// `import "PATH";`
#[derive(Debug, Clone, PartialEq)]
pub struct Import {
    pub path: String,
    pub span: Span,
}

/// `enum` and `enumflag`.
#[derive(Debug, Clone, PartialEq)]
pub struct Enum {
    pub name: Name,
    /// Entries are bits.
    pub flags: bool,
    pub base: Base,
    pub entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub name: Name,
    /// As written, or one more than the entry before.
    pub value: u64,
    /// Added later, and left out of the CRC.
    pub backwards_compatible: bool,
}

/// `typedef TYPE NAME;` and `typedef TYPE NAME[N];`
#[derive(Debug, Clone, PartialEq)]
pub struct Alias {
    pub name: Name,
    pub target: Type,
    pub length: Option<u32>,
}

/// `typedef NAME { ... };` and `union NAME { ... };`
#[derive(Debug, Clone, PartialEq)]
pub struct Struct {
    pub name: Name,
    pub union: bool,
    pub fields: Vec<Field>,
}

/// `define NAME { ... };`
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub name: Name,
    pub autoreply: bool,
    pub settings: Vec<Setting>,
    pub fields: Vec<Field>,
}

/// `rpc REQUEST returns REPLY ...;`
#[derive(Debug, Clone, PartialEq)]
pub struct Rpc {
    pub request: Name,
    /// `None` for `null`.
    pub reply: Option<Name>,
    /// Details that come before the reply.
    pub stream: Option<Name>,
    /// `returns stream DETAILS`: details and no reply.
    pub details: Option<Name>,
    pub events: Vec<Name>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    pub name: Name,
    pub kind: Type,
    pub array: Array,
    /// `default`, `limit`.
    pub settings: Vec<Setting>,
}

impl Field {
    /// The value of `[default=...]`.
    pub fn default(&self) -> Option<&Value> {
        self.settings.iter().find(|setting| setting.name.text == "default")?.value.as_ref()
    }

    /// Says how a request went.
    pub fn is_retval(&self) -> bool {
        let number = matches!(self.kind, Type::Base(Base::I32 | Base::U32)) && self.array == Array::No;
        number && matches!(self.name.text.as_str(), "retval" | "response")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    U8,
    U16,
    U32,
    U64,
    I8,
    I16,
    I32,
    I64,
    Bool,
    F64,
}

impl Base {
    pub const ALL: [Self; 10] = [
        Self::U8,
        Self::U16,
        Self::U32,
        Self::U64,
        Self::I8,
        Self::I16,
        Self::I32,
        Self::I64,
        Self::Bool,
        Self::F64,
    ];

    /// The same word in `.api` files and in Rust.
    pub fn word(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::Bool => "bool",
            Self::F64 => "f64",
        }
    }

    /// Bytes on the wire.
    pub fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// Can count the elements of an array.
    pub fn is_unsigned(self) -> bool {
        matches!(self, Self::U8 | Self::U16 | Self::U32 | Self::U64)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Type {
    Base(Base),
    String,
    /// `vl_api_NAME_t`, without the ornaments.
    Named(Name),
}

impl Type {
    /// As written in a definition.
    pub fn word(&self) -> String {
        match self {
            Self::Base(base) => base.word().to_owned(),
            Self::String => "string".to_owned(),
            Self::Named(name) => format!("vl_api_{}_t", name.text),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Array {
    /// Not an array.
    No,
    Fixed(u32),
    /// As many as an earlier field says.
    Counted(Name),
    /// `[]`, for strings.
    Open,
}
